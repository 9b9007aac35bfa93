"""What is said of a file that is not of the kind asked for."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

import all_kinds
from spikereach.cli import app
from spikereach.data.binning import BinnedSession
from spikereach.data.matfile import SessionFile
from spikereach.kinds import Kind, again, mistaken
from spikereach.models.checkpoint import load
from spikereach.published.importers import import_weights
from spikereach.reporting import predictions
from spikereach.reporting.collect import collect

OPTIONS = ("--monkey", "m", "--areas", "M1=3")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return all_kinds.make(tmp_path_factory.mktemp("made"))


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def results(name, path, folder):
    """A result that bears the name which readers ask for."""
    (folder / name).symlink_to(path)
    collect([folder / name])


READERS = {
    Kind.SESSION: lambda path, folder: SessionFile(path).t,
    Kind.BINNED: lambda path, folder: BinnedSession.load(path),
    Kind.CHECKPOINT: lambda path, folder: load(path),
    Kind.PREDICTIONS: lambda path, folder: predictions.read(path),
    Kind.METRICS: lambda path, folder: results("metrics.json", path, folder),
    Kind.REALTIME: lambda path, folder: results("realtime.json", path, folder),
    Kind.PYTORCH: lambda path, folder: import_weights("SNN2", path),
}


@pytest.mark.parametrize("wanted", READERS)
@pytest.mark.parametrize("given", Kind)
def test_no_reader_advises_to_delete_what_is_not_its_own(wanted, given, made, tmp_path):
    if wanted is given:
        return
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        READERS[wanted](made[given], tmp_path)
    message = str(caught.value)
    assert "delete" not in message
    assert "damaged" not in message or given in (Kind.HDF5, Kind.UNKNOWN)
    problem = mistaken(made[given], wanted)
    if problem is not None:
        assert message.endswith(problem)
        named = "folder" if given is Kind.RESULTS else given
        assert problem.startswith(("is a ", "is an "))
        assert f"{named}, not {wanted.a}; " in problem
        assert problem.partition("; ")[2]


@pytest.mark.parametrize("kind", [kind for kind in READERS if kind != Kind.PYTORCH])
def test_what_the_project_made_may_be_deleted(kind, made):
    """Only that, and no recording: those it does not make."""
    advice = again(made[kind], kind)
    assert ("delete" in advice) == (kind is not Kind.SESSION)
    for other in set(Kind) - {kind}:
        assert "delete" not in again(made[other], kind)


def test_a_damaged_file_of_the_project_may_be_deleted(made, tmp_path):
    for kind in (Kind.BINNED, Kind.CHECKPOINT):
        content = bytearray(made[kind].read_bytes())
        content[-20] ^= 255
        path = tmp_path / "file"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"file.* delete (it|the file) and .* again"):
            READERS[kind](path, tmp_path)


@pytest.mark.parametrize(
    "name",
    ["rec.mat?download=1", "rec.MAT", "rec.mat.1", "rec.mat~", "rec (1).mat", "rec", "rec.hdf5"],
)
def test_a_recording_is_one_by_any_name(name, made, tmp_path):
    shutil.copy(made[Kind.SESSION], tmp_path / name)
    code, output = run("check", tmp_path / name, *OPTIONS)
    assert code == 0, output
    assert "session    rec of monkey m" in output
    code, output = run("bin", tmp_path / name, tmp_path / "out", *OPTIONS)
    assert code == 0, output
    code, output = run("check", tmp_path / "out")
    assert code == 0, output
    assert "session    rec of monkey m" in output


def test_a_recording_of_the_catalogue_is_known_by_any_name(made, tmp_path):
    """It is another recording, which the number of channels tells."""
    path = tmp_path / "indy_20160622_01.mat?download=1"
    shutil.copy(made[Kind.SESSION], path)
    assert "has 3 channels, session indy_20160622_01 has 96" in run("check", path)[1]


@pytest.mark.parametrize("command", ["decode", "evaluate", "stream"])
@pytest.mark.parametrize("session", [Kind.SESSION, Kind.BINNED])
def test_swapped_arguments(command, session, made, tmp_path):
    more = ("--out", tmp_path / "x.csv") if command == "decode" else ()
    code, output = run(command, made[session], made[Kind.CHECKPOINT], *more)
    assert code == 1
    assert "give the checkpoint first, then the session" in output
    assert "delete" not in output


def test_a_folder_in_place_of_a_file_names_what_lies_there(made):
    folder = made[Kind.SESSION].parent
    assert (
        "is a folder, not a session file; give a file in it, such as recording.mat"
        in (run("check", folder)[1])
    )


def test_a_file_that_is_not_there_names_one_that_may_be_meant(made):
    path = made[Kind.SESSION].with_name("recordings.mat")
    assert "does not exist; check the path (there is recording.mat)" in run("check", path)[1]
    assert mistaken(Path("/no/such/folder/a"), Kind.SESSION) == "does not exist; check the path"


@pytest.mark.parametrize("target", ["/no/disk/recording.mat", "link.mat"])
def test_a_link_that_leads_nowhere_is_named_with_where_it_leads(target, tmp_path):
    """As to a disk that is away, or of git-annex; to name what lies beside it is no help."""
    path = tmp_path / "link.mat"
    path.symlink_to(target)
    expected = f"is a link to {target}, which is not there; bring it back, or make the link anew"
    assert mistaken(path, Kind.SESSION) == expected
    assert f"{path}: {expected}" in run("check", path)[1]


def test_a_file_in_place_of_its_folder(made, tmp_path):
    path = made[Kind.RESULTS] / "metrics.json"
    output = run("view", path, "--out", tmp_path / "page.html")[1]
    assert f"{path} is a metrics file, not a folder; give the folder it lies in" in output
