"""Manifests: what jobs write down, and inputs that are not what they were made as."""

import contextlib
import json
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import small_run
from small_run import (
    BINNED,
    CHAIN,
    CHECKPOINT,
    METRICS,
    RAW,
    REALTIME,
    TABLE,
    manifest_of,
    run_all,
    run_job,
)
from spikereach.config.overlays import overlay, overrides
from spikereach.identity import digest, file_checksum
from spikereach.workflow import manifest as manifests
from spikereach.workflow.manifest import ManifestError, recorded


@pytest.fixture(autouse=True)
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_a_job_was(monkeypatch):
    Path("workflow/scripts").mkdir(parents=True)
    Path("workflow/rules").mkdir()
    config = yaml.safe_dump({"source": "zenodo", "threads": 1, "seeds": [1]})
    Path("config.yaml").write_text(config, "utf-8")
    for rule in ("fetch_session", "bin_session", "train_decoder"):
        monkeypatch.setattr(time, "monotonic", iter([100.0, 102.5]).__next__)
        run_job(rule, seeds=[0], source="synthetic")
    made = manifest_of(CHECKPOINT)
    assert made.rule == "train_decoder"
    assert made.outputs == {CHECKPOINT: file_checksum(CHECKPOINT)}
    assert made.inputs == {BINNED: file_checksum(BINNED)}
    found = made.conditions
    assert found["seed"] == 0
    assert found["device"] == "cpu"
    assert found["wall_s"] == 2.5
    assert found["overrides"] == {"source": "synthetic", "seeds": [0]}
    assert found["config"] == digest({"source": "synthetic", "threads": 1, "seeds": [0]})
    assert {"numpy", "torch", "spikereach"} <= found["packages"].keys()
    assert {"commit", "dirty", "python", "platform", "started", "params"} <= found.keys()
    assert manifest_of(BINNED).conditions["seed"] is None


def test_every_output_has_its_manifest():
    run_all()
    for rule, (_, outputs) in CHAIN.items():
        for path in outputs:
            assert manifest_of(path).rule == rule


def test_results_hold_nothing_of_their_manifests():
    run_all()
    first = {path: Path(path).read_bytes() for path in small_run.files()}
    run_all()
    changed = {path for path, content in first.items() if Path(path).read_bytes() != content}
    assert all(path.startswith("manifests/") for path in changed)


NESTED = st.recursive(
    st.integers(0, 3) | st.lists(st.integers(0, 3), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)
MAPPINGS = st.dictionaries(st.sampled_from("abc"), NESTED, max_size=3)


@given(MAPPINGS, MAPPINGS)
def test_overrides_are_the_overlay_that_was_laid(base, extra):
    config = overlay(base, extra)
    found = overrides(base, config)
    assert overlay(base, found) == config
    assert overrides(base, base) == {}
    assert overrides(config, overlay(config, found)) == {}


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        (RAW, "bin_session"),
        (BINNED, "train_decoder"),
        (CHECKPOINT, "evaluate_decoder"),
        (METRICS, "write_table"),
        (REALTIME, "write_table"),
    ],
)
def test_altered_input_is_named_and_not_used(path, rule):
    run_all()
    content = bytearray(Path(path).read_bytes())
    content[len(content) // 2] ^= 1
    Path(path).write_bytes(content)
    before = {name: Path(name).read_bytes() for name in CHAIN[rule][1]}
    with pytest.raises(ManifestError, match=f"^{path}: .*delete it and run again"):
        run_job(rule, extra="anew")
    assert before == {name: Path(name).read_bytes() for name in CHAIN[rule][1]}


def test_file_without_manifest_is_taken_as_it_is():
    run_job("fetch_session")
    Path("manifests/data/raw/synthetic_indy_1.manifest.json").unlink()
    Path(RAW).write_text("a recording of one's own", "utf-8")
    run_job("bin_session")
    assert manifest_of(BINNED).inputs[RAW] == file_checksum(RAW)


def test_job_that_fails_leaves_no_manifest_not_even_an_earlier_one():
    run_all()

    def fails():
        assert manifest_of(TABLE) is None
        raise KeyError

    job = small_run.snakemake("write_table", *CHAIN["write_table"])
    with pytest.raises(KeyError), recorded(job):
        fails()
    assert manifest_of(TABLE) is None
    assert manifest_of("paper_tables/c.csv").rule == "write_ablation", "that of another job stays"


def test_files_that_snakemake_is_not_told_of():
    """Of a job that makes a part of what an earlier one made, and knows the rest of it."""
    run_job("fetch_session")
    made = manifest_of(RAW).outputs
    checksum = CHAIN["fetch_session"][1][1:]
    job = small_run.snakemake("check_session", [], checksum)
    with contextlib.suppress(KeyError), recorded(job) as record:
        assert record.earlier == made
        raise KeyError
    assert manifest_of(RAW).outputs == made, "what it says of the rest still holds"
    with recorded(job) as record:
        record.outputs.append(RAW)
        Path(RAW).write_text("anew", "utf-8")
    assert manifest_of(RAW).outputs == {path: file_checksum(path) for path in (RAW, *checksum)}
    Path(RAW).write_text("put there by hand", "utf-8")
    with recorded(job) as record:
        assert file_checksum(RAW) not in record.earlier.values()
        record.inputs.append(RAW)
    assert manifest_of(RAW) is None
    assert manifest_of(checksum[0]).inputs == {RAW: file_checksum(RAW)}
    run_job("bin_session")
    Path(RAW).write_text("altered", "utf-8")
    with pytest.raises(ManifestError, match=rf"{RAW}: was altered .* or delete {checksum[0]}"):
        run_job("bin_session")


def test_manifest_that_cannot_be_written_is_told_before_the_work():
    Path("manifests").write_text("a file", "utf-8")
    job = small_run.snakemake("fetch_session", *CHAIN["fetch_session"])
    with pytest.raises(OSError, match="manifests"), recorded(job):
        pytest.fail("the job has begun")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace(b'"seed": 0', b'"seed": 1'),
        lambda text: text + b" ",
        lambda text: b"[]",
        lambda text: b"\xff",
        lambda text: b"",
        lambda text: b"[" * 100_000,
    ],
)
def test_damaged_manifest(change):
    run_all()
    path = next(path for path in Path("manifests/results/train").rglob("*.json"))
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ManifestError, match=path.as_posix()):
        manifests.read(path)
    run_job("evaluate_decoder")


@pytest.mark.parametrize(
    "forged",
    [
        {"outputs": {"../../etc/passwd": "0"}},
        {"outputs": {"/etc/passwd": "0"}},
        {"outputs": {"a": 1}},
        {"outputs": []},
        {"inputs": None},
        {"conditions": []},
        {"more": 1},
    ],
)
def test_forged_manifest_with_a_right_checksum_is_refused(forged):
    content = {"rule": "x", "outputs": {}, "inputs": {}, "conditions": {}} | forged
    whole = content | {"sha256": digest(content)}
    Path("a.json").write_text(json.dumps(whole, indent=1, sort_keys=True) + "\n", "utf-8")
    with pytest.raises(ManifestError, match="damaged"):
        manifests.read(Path("a.json"))
