"""The whole workflow on a tiny configuration, and what is run again after a change."""

import copy
import json
import shlex
import shutil
import subprocess

import pytest
import yaml

from small_run import manifest_of
from spikereach.workflow.verify import verify

pytestmark = pytest.mark.slow

SYSTEMS = ("Wiener", "tinyRSNN", "sRTnet")
METRICS = {name: f"results/evaluate/{name}/synthetic_indy_1/seed0/metrics.json" for name in SYSTEMS}


@pytest.fixture(scope="module")
def finished(make_checkout, tmp_path_factory):
    """A checkout in which the tiny configuration has been run to the end."""
    checkout = make_checkout(tmp_path_factory.mktemp("finished"))
    done = checkout.snakemake("--cores", "2")
    assert done.returncode == 0, done.stdout
    return checkout


@pytest.fixture
def checkout(finished, make_checkout, tmp_path):
    """Another checkout on the finished run, in which a test may change anything but the run."""
    checkout = make_checkout(tmp_path)
    checkout.copy_package()
    checkout.run_folder = finished.run_folder
    return checkout


def _overlay(checkout):
    """The tiny configuration without YAML's shared objects."""
    return json.loads(json.dumps(yaml.safe_load(checkout.overlay.read_text())))


def test_everything_is_made(finished):
    run = finished.run_folder
    for table in ("coopt", "realtime"):
        for kind in ("tex", "csv", "md"):
            text = (run / "paper_tables" / f"{table}.{kind}").read_text()
            positions = [text.index(name) for name in SYSTEMS]
            assert positions == sorted(positions), "rows in the order of the configuration"
        assert "synthetic" in (run / "paper_tables" / f"{table}.tex").read_text()
    for figure in ("trajectory_synthetic_indy_1", "r2_by_session", "pareto"):
        assert (run / "figures" / f"{figure}.pdf").read_bytes().startswith(b"%PDF")
        assert (run / "figures" / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
        assert (run / "figures" / f"{figure}.csv").read_text().count("\n") > 1
    config = yaml.safe_load((run / "results" / "config.yaml").read_text())
    assert config["seeds"] == [0]
    assert config["systems"]["tinyRSNN"]["sizes"]["hidden"] == 8


def test_results_say_what_they_are(finished):
    for name, path in METRICS.items():
        metrics = json.loads((finished.run_folder / path).read_text())
        assert metrics["system"] == name
        assert metrics["source"] == "synthetic"
        realtime = (finished.run_folder / path).with_name("realtime.json")
        assert json.loads(realtime.read_text())["system"] == name


def test_logs_and_benchmarks_mirror_the_outputs(finished):
    logs = finished.run_folder / "logs"
    for path in METRICS.values():
        log = logs / path.removeprefix("results/").removesuffix("/metrics.json")
        assert log.with_suffix(".log").is_file()
        assert log.with_suffix(".tsv").read_text().startswith("s\t")


def test_resumable_state_is_removed(finished):
    assert not list((finished.run_folder / ".cache" / "resume").iterdir())


def _folders(planned):
    """Of all outputs, without the file's name."""
    return {path.rsplit("/", 1)[0] for paths in planned.values() for path in paths}


def test_what_reruns_nothing(checkout):
    """Comments, the order of keys, and new time stamps of files that are what they were."""
    checkout.overlay.write_text(yaml.safe_dump(_overlay(checkout), sort_keys=True))
    checkout.edit("tiny.yaml", "source: synthetic\n", "source: synthetic  # a comment\n")
    checkout.edit("config.yaml", "# ---- How it runs", "# ---- How it all runs")
    for path in ("src/spikereach/training/loop.py", "workflow/scripts/train_decoder.py"):
        file = checkout.folder / path
        file.write_text(file.read_text() + "\n# a comment\n")
    for suffix in ("mat", "md5"):
        (checkout.run_folder / "data" / "raw" / f"synthetic_indy_1.{suffix}").touch()
    assert checkout.planned() == {}


def test_training_of_a_system_reruns_what_follows_from_it(checkout):
    """Fine-tuning, but not the pretraining before it, and of no other system."""
    content = _overlay(checkout)
    content["systems"]["tinyRSNN"]["training"]["finetune"]["learning_rate"] = 0.001
    content["systems"]["GRU-t2"] = {"sizes": {"hidden": 7}}  # stands in no table
    checkout.overlay.write_text(yaml.safe_dump(content))
    planned = checkout.planned(*METRICS.values(), "paper_tables/coopt.tex")
    assert set(planned) == {"train_decoder", "compress_decoder", "evaluate_decoder", "write_table"}
    assert _folders(planned) == {
        "results/train/tinyRSNN/synthetic_indy_1/seed0",
        "results/compress/tinyRSNN/synthetic_indy_1/seed0",
        "results/evaluate/tinyRSNN/synthetic_indy_1/seed0",
        "paper_tables",
    }


def test_a_base_and_the_code_of_a_decoder_rerun_their_systems(checkout):
    content = _overlay(checkout)
    content["systems"]["RTnet"]["training"]["finetune"]["epochs"] = 2
    checkout.overlay.write_text(yaml.safe_dump(content))
    checkout.edit("src/spikereach/models/rsnn.py", "class RSNN(", "EXTRA = 1\n\n\nclass RSNN(")
    planned = checkout.planned(*METRICS.values())
    assert set(planned) == {"train_decoder", "compress_decoder", "evaluate_decoder"}
    assert _folders(planned) == {
        "results/train/tinyRSNN/synthetic_indy/seed0",
        *(f"results/{stage}/tinyRSNN/synthetic_indy_1/seed0"
          for stage in ("train", "compress", "evaluate")),
        "results/train/RTnet/synthetic_indy_1/seed0",
        "results/compress/sRTnet/synthetic_indy_1/seed0",
        "results/evaluate/sRTnet/synthetic_indy_1/seed0",
    }  # fmt: skip


def test_code_of_binning_reruns_from_there(checkout):
    file = checkout.folder / "src" / "spikereach" / "data" / "binning.py"
    file.write_text(file.read_text() + "\nEXTRA = 1\n")
    planned = checkout.planned(METRICS["Wiener"])
    assert set(planned) == {"bin_session", "train_decoder", "evaluate_decoder"}


def test_seconds_of_synthetic_data_rerun_everything(checkout):
    checkout.edit("tiny.yaml", "duration_s: 40.0", "duration_s: 50.0")
    assert {"check_session", "bin_session"} <= set(checkout.planned(METRICS["Wiener"]))


@pytest.fixture
def copied(finished, tmp_path):
    """The finished checkout with a run folder that a test may damage."""
    checkout = copy.copy(finished)
    checkout.run_folder = shutil.copytree(finished.run_folder, tmp_path / "run")
    return checkout


def _flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _verified(run_folder):
    return [each.path for each in verify(run_folder).breaks]


def test_every_result_has_a_manifest_down_to_the_recordings(finished):
    report = verify(finished.run_folder)
    assert report.breaks == []
    assert report.recordings == {"synthetic": 2}
    outputs = {
        path.relative_to(finished.run_folder).as_posix()
        for part in ("data", "results", "paper_tables", "figures")
        for path in (finished.run_folder / part).rglob("*.*")
    }
    for path in outputs:
        assert manifest_of(path, finished.run_folder) is not None, path


def test_manifest_has_the_overrides(finished):
    overlay = yaml.safe_load(finished.overlay.read_text())
    for path in METRICS.values():
        made = manifest_of(path, finished.run_folder).conditions
        assert made["overrides"]["seeds"] == overlay["seeds"]
        assert made["overrides"]["systems"]["tinyRSNN"]["sizes"] == {"hidden": 8}
        assert made["seed"] == 0
        assert made["device"] == "cpu"


def test_corrupted_files_are_named_and_not_used(copied):
    """Of two jobs at once; each kind of file alone is altered in tests/unit/test_manifest.py."""
    flipped = {"data/binned/synthetic_indy_2.h5", METRICS["Wiener"]}
    victims = {
        "results/train/tinyRSNN/synthetic_indy/seed0/checkpoint.safetensors",
        "paper_tables/comparisons.csv",
    }
    for path in flipped:
        _flip(copied.run_folder / path)
    assert sorted(_verified(copied.run_folder)) == sorted(flipped)
    for path in victims:
        (copied.run_folder / path).unlink()
    done = copied.snakemake(
        *(METRICS["tinyRSNN"], "paper_tables/comparisons.csv", "--cores", "1", "--keep-going")
    )
    assert done.returncode != 0
    errors = [line for line in done.stdout.splitlines() if line.startswith("error: ")]
    assert len(errors) == len(flipped)
    for path in flipped:
        (message,) = (line for line in errors if line.startswith(f"error: {path}: "))
        assert "delete it and run again" in message
    for path in victims:
        assert not (copied.run_folder / path).exists()
        assert manifest_of(path, copied.run_folder) is None
        assert not list((copied.run_folder / path).parent.glob(".*"))


@pytest.mark.long
def test_remedy_mends_the_run(copied, monkeypatch):
    """Its lines, as they are."""
    monkeypatch.chdir(copied.folder)
    before = (copied.run_folder / "paper_tables/coopt.tex").read_bytes()
    checkpoint = "results/compress/sRTnet/synthetic_indy_1/seed0/checkpoint.safetensors"
    _flip(copied.run_folder / checkpoint)
    *before_it, call = verify(copied.run_folder).commands
    subprocess.run(["sh", "-e", "-c", "\n".join(before_it)], check=True)
    program, *arguments = shlex.split(call)
    assert program == "snakemake"
    done = copied.snakemake(*arguments, overlay=False, directory=False)
    assert done.returncode == 0, done.stdout
    assert _verified(copied.run_folder) == []
    assert (copied.run_folder / "paper_tables/coopt.tex").read_bytes() == before


def test_single_target_reruns_only_what_it_needs(checkout):
    (checkout.run_folder / METRICS["Wiener"]).unlink()
    done = checkout.snakemake(METRICS["Wiener"], "--cores", "1")
    assert done.returncode == 0, done.stdout
    assert "1 of 1 steps (100%) done" in done.stdout
    assert json.loads((checkout.run_folder / METRICS["Wiener"]).read_text())["system"] == "Wiener"
