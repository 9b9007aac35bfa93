"""Texts of a configuration and folders of a user stay what they are: no command, no pattern."""

import pytest
import yaml

from spikereach.config.sessions import Session
from spikereach.data import synthetic

NASTY = "a $(touch pwned) `touch pwned` ';touch pwned;\" * \\ é"
LABEL = NASTY + " {session} {{x}} \\input{secret}"


def overlay(checkout, entries):
    path = checkout.folder / "nasty.yaml"
    path.write_text(yaml.safe_dump(entries))
    checkout.overlays.append(path)


def executed(folder):
    return [path for path in folder.rglob("*") if path.name.startswith("pwned")]


@pytest.mark.slow
def test_free_texts_and_folders(checkout):
    """A run in a folder of that name, on recordings in one, with labels of that text."""
    recordings = checkout.folder / NASTY
    recordings.mkdir()
    session = Session("synthetic_indy_1", "synthetic_indy", {"M1": 96})
    synthetic.generate(session, recordings / "own.mat", duration_s=40.0, seed=0)
    checkout.run_folder = checkout.folder / f"run {NASTY}"
    entries = {
        "source": "local",
        "folder": str(recordings),
        "weights_folder": str(recordings),
        "download": {"record": f"http://127.0.0.1:9/{NASTY}"},
        "catalogue": {"own": {"monkey": "own", "areas": {"M1": 96}}},
        "sessions": ["own"],
        "pretrain_sessions": {"synthetic_indy": ["synthetic_indy_1"]},
        "ablations": {"compression": [{"label": LABEL, "system": "Wiener"}]},
        "seeds": [0],
    }
    overlay(checkout, entries)
    targets = ["results/config.yaml", "paper_tables/compression_ablation.tex"]
    done = checkout.snakemake(*targets, "--cores", "2")
    assert done.returncode == 0, done.stdout
    assert executed(checkout.folder) == []
    config = yaml.safe_load((checkout.run_folder / targets[0]).read_text())
    assert config["folder"] == str(recordings)
    assert config["ablations"]["compression"][0]["label"] == LABEL
    text = (checkout.run_folder / targets[1]).read_text()
    for part in (r"\$(touch pwned)", r"\{session\}", r"\textbackslash{}"):
        assert part in text, "LaTeX's own characters are escaped"
