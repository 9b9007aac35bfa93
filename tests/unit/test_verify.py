"""The chain of checksums: every broken link is found and named, and nothing else."""

import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import small_run
from small_run import BINNED, CHAIN, CHECKPOINT, METRICS, RAW, TABLE, run_all, run_job, write
from spikereach.cli import app
from spikereach.published.weights import sources
from spikereach.workflow import manifest as manifests
from spikereach.workflow import verify as module
from spikereach.workflow.manifest import ManifestError, recorded
from spikereach.workflow.verify import VerifyError, verify


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_all()
    return tmp_path


def named(report):
    return [each.path for each in report.breaks]


def test_intact_run(run):
    report = verify(run)
    assert report.breaks == []
    outputs = sum(len(outputs) for _, outputs in CHAIN.values())
    assert (report.files, report.jobs) == (outputs, len(CHAIN))
    assert report.recordings == {"synthetic": 1}


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder, here = tmp_path_factory.mktemp("template"), Path.cwd()
    os.chdir(folder)
    run_all()
    names = small_run.files()
    os.chdir(here)
    return folder, names


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_one_changed_byte_in_any_file_is_found_and_no_other_file_named(template, data):
    folder, names = template
    path = folder / data.draw(st.sampled_from(names))
    content = path.read_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    changed = bytearray(content)
    changed[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(changed)
    try:
        found = named(verify(folder))
    finally:
        path.write_bytes(content)
    assert found == [path.relative_to(folder).as_posix()]


@pytest.mark.parametrize("rule", CHAIN)
def test_missing_file_is_named(run, rule):
    for path in CHAIN[rule][1]:
        Path(path).unlink()
    assert set(named(verify(run))) == set(CHAIN[rule][1])


def test_message_has_the_checksums_what_rests_on_it_and_the_remedy(run):
    expected = hashlib.sha256(Path(CHECKPOINT).read_bytes()).hexdigest()
    Path(CHECKPOINT).write_text("other", "utf-8")
    text = "\n".join(verify(run).breaks[0].lines())
    for part in (
        f"{CHECKPOINT}: its content is not what train_decoder wrote",
        expected,
        hashlib.sha256(b"other").hexdigest(),
        TABLE,
        "delete it and make it again",
    ):
        assert part in text


def test_killed_between_result_and_manifest(run):
    def killed():
        write("train_decoder")
        raise KeyboardInterrupt

    job = small_run.snakemake("train_decoder", *CHAIN["train_decoder"])
    with pytest.raises(KeyboardInterrupt), recorded(job):
        killed()
    (broken,) = verify(run).breaks
    assert broken.path == CHECKPOINT
    assert "no manifest" in broken.problem
    assert "delete it" in broken.remedy
    Path(CHECKPOINT).unlink()
    run_job("train_decoder")
    assert verify(run).breaks == []


def test_result_made_from_another_version_of_its_input(run):
    run_job("train_decoder", extra=" trained anew")
    (broken,) = verify(run).breaks
    assert broken.path == METRICS
    assert CHECKPOINT in broken.problem
    for rule in ("evaluate_decoder", "write_table", "write_ablation"):
        run_job(rule)
    assert verify(run).breaks == []


def test_single_file_is_verified_down_to_the_recording_and_no_further(run):
    report = verify(TABLE)
    assert report.breaks == []
    assert report.jobs == len(CHAIN) - 1
    Path("figures/c.csv").write_text("other", "utf-8")
    assert named(verify(TABLE)) == []
    assert named(verify(run / "figures" / "c.csv")) == ["figures/c.csv"]
    Path(RAW).write_text("other", "utf-8")
    assert named(verify(TABLE)) == [RAW]


def test_leftovers_of_a_killed_job_and_files_of_ones_own_are_no_results(run):
    Path(CHECKPOINT).with_name(".checkpoint.safetensors.tmp").write_text("half")
    Path("paper_tables/all.pdf").write_text("compiled by hand", "utf-8")
    assert verify(run).breaks == []


def test_own_recording_that_changed_since_it_was_copied(run, tmp_path_factory):
    original = tmp_path_factory.mktemp("recordings") / "synthetic_indy_1.mat"
    original.write_text("recorded")
    outputs = CHAIN["fetch_session"][1]
    with recorded(small_run.snakemake("fetch_session", [str(original)], outputs, source="local")):
        write("fetch_session")
    assert verify(run).breaks == []
    original.write_text("recorded anew")
    (broken,) = verify(run).breaks
    assert broken.path == RAW
    assert str(original) in broken.problem
    original.unlink()
    assert verify(run).breaks == []


def check_by_hand(content, **config):
    """A recording put there by hand, and the job that checks it."""
    Path(RAW).write_text(content, "utf-8")
    inputs, outputs = CHAIN["fetch_session"]
    with recorded(small_run.snakemake("check_session", inputs, outputs[1:], **config)) as record:
        record.inputs.append(RAW)
        Path(outputs[1]).write_text(content, "utf-8")
    run_job("bin_session")


def test_recording_that_was_put_there_is_what_was_checked(run):
    shutil.rmtree(run / "manifests" / "data")
    check_by_hand("recorded")
    report = verify(BINNED)
    assert (report.breaks, report.recordings) == ([], {"synthetic": 1})
    assert verify(RAW).breaks == []
    Path(RAW).write_text("another", "utf-8")
    for target in (RAW, BINNED):
        (broken,) = verify(target).breaks
        assert broken.path == RAW
        assert "altered since check_session checked it" in broken.problem
        assert "put the earlier file back" in broken.remedy
    with pytest.raises(ManifestError, match=rf"^{RAW}: was altered since check_session checked it"):
        run_job("bin_session")


def test_published_weights_that_were_put_there_need_no_manifest(run, monkeypatch):
    path = f"data/weights/{sources()[0].file}"
    Path(path).parent.mkdir(parents=True)
    Path(path).write_text("weights", "utf-8")
    sha256 = hashlib.sha256(b"weights").hexdigest()
    (broken,) = verify(path).breaks
    assert "no manifest" in broken.problem
    monkeypatch.setattr(module, "sources", lambda: [replace(sources()[0], sha256=sha256)])
    assert verify(path).breaks == []


def test_recordings_are_those_of_the_zenodo_record(run, monkeypatch):
    raw, md5 = "data/raw/indy_20160622_01.mat", "data/raw/indy_20160622_01.md5"
    monkeypatch.setitem(CHAIN, "fetch_session", ([], [raw, md5]))
    run_job("fetch_session", source="zenodo")
    (broken,) = verify(run).breaks
    assert broken.path == raw
    assert broken.expected == module.ZENODO["indy_20160622_01"].md5
    assert broken.found == hashlib.md5(Path(raw).read_bytes()).hexdigest()
    session = replace(module.ZENODO["indy_20160622_01"], md5=broken.found)
    monkeypatch.setitem(module.ZENODO, "indy_20160622_01", session)
    report = verify(raw)
    assert (report.breaks, report.recordings) == ([], {"zenodo": 1})


def test_published_weights_are_those_published(run, monkeypatch):
    path = f"data/weights/{sources()[0].file}"
    monkeypatch.setitem(CHAIN, "fetch_weights", ([], [path]))
    run_job("fetch_weights")
    (broken,) = verify(run).breaks
    assert (broken.path, broken.expected) == (path, sources()[0].sha256)


def test_mixed_commits_and_configurations_are_warned_of(run, monkeypatch):
    monkeypatch.setattr(
        manifests, "environment", lambda: {"commit": "f" * 40, "dirty": True, "gpu": None}
    )
    run_job("write_table", seeds=[7])
    report = verify(run)
    assert report.breaks == []
    text = "\n".join(report.warnings)
    assert "several commits" in text
    assert "ffffffffffff+ (1 jobs)" in text
    assert "several configurations" in text
    assert "uncommitted" in text


def test_no_run_folder(tmp_path, run):
    with pytest.raises(VerifyError, match="nothing was made here"):
        verify(run / "data")
    for name in ("notes.txt", "manifests/data/raw/synthetic_indy_1.manifest.json"):
        with pytest.raises(VerifyError, match="no job made it"):
            verify(run / name)
    with pytest.raises(VerifyError, match="no such file"):
        verify(Path("/nowhere/table.csv"))
    (broken,) = verify(run / "paper_tables" / "other.csv").breaks
    assert broken.path == "paper_tables/other.csv"


def test_command(run):
    runner = CliRunner()
    done = runner.invoke(app, ["verify"])
    assert done.exit_code == 0
    assert "of 6 jobs are what they were made as, down to 1 recording (synthetic)" in done.stdout
    Path(BINNED).write_text("other", "utf-8")
    done = runner.invoke(app, ["verify", str(run)])
    assert done.exit_code == 1
    assert f"{BINNED}: its content is not what bin_session wrote" in done.stdout
    assert "remedy: delete it and make it again" in done.stdout
    removal, _, call = done.stdout.splitlines()[-3:]
    assert removal == f"rm {BINNED}"
    assert call.endswith(f" -- {BINNED} figures/c.csv {TABLE}")
    shutil.rmtree(run / "manifests")
    done = runner.invoke(app, ["verify", str(run)])
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    assert "nothing was made here" in done.stderr
    (run / "manifests").mkdir()
    for folder in ("data", "results", "paper_tables", "figures"):
        shutil.rmtree(run / folder)
    done = runner.invoke(app, ["verify", str(run)])
    assert (done.exit_code, "nothing was made here" in done.stderr) == (1, True)


def test_manifest_of_a_hanging_special_file_does_not_hang(run):
    os.mkfifo("pipe")
    job = json.loads(
        Path("manifests/data/raw/synthetic_indy_1.manifest.json").read_text(encoding="utf-8")
    )
    del job["sha256"]
    job["inputs"] = {str(Path("pipe").absolute()): "0"}
    manifests.Manifest(**job).write()
    assert verify(run).breaks == []
