"""What `import spikereach` offers: units, time, and what it takes."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import spikereach
from session_files import random_session
from spikereach import config
from spikereach.cli import app
from spikereach.config import ConfigError
from spikereach.data.binning import BinnedSession
from spikereach.evaluation.errors import EvaluationError, MismatchWarning
from spikereach.models import zoo
from spikereach.models.checkpoint import Checkpoint, save
from spikereach.models.decoder import Standardisation
from spikereach.models.passes import PassError
from spikereach.models.tensorfile import CheckpointError

CHANNELS, STEPS = 24, 6000


@pytest.fixture(scope="module")
def systems(repository):
    return config.read(repository / "config.yaml").systems


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api")
    return random_session(folder / "mine.mat", channels=CHANNELS, steps=STEPS, start=873.2)


@pytest.fixture(scope="module")
def session(file):
    return spikereach.load_session(file, monkey="rex", areas={"M1": 16, "S1": 8})


def checkpoint_of(name, systems, areas=("M1",) * 16 + ("S1",) * 8, monkey="rex"):
    """A decoder whose standardised velocities are far from the session's unit."""
    torch.manual_seed(0)
    decoder = zoo.build(systems[name], len(areas), areas=areas).eval()
    decoder.standardisation = Standardisation((20.0, 30.0), (5.0, -50.0))
    return Checkpoint(decoder, systems[name], name, "mine", monkey, areas, 0)


def changed(session, **fields):
    return BinnedSession(**(vars(session) | fields))


# ---- Units and time ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "system", ["RTnet", "sRTnet", "SNN2", "tinyRSNN", "GRU-t2", "ANN3", "AEGRU"]
)
def test_r2_of_what_is_decoded_is_neurobenchs(system, systems, session):
    """By the definition of R2, in float64, on the test part; also where one area is silent."""
    checkpoint = checkpoint_of(system, systems)
    found = spikereach.evaluate(checkpoint, session, 200)
    test = session.split("neurobench").test
    test = slice(test.start, test.start + found.test_steps)
    true = session.velocity[test].astype(float)
    spread = np.square(true - true.mean(axis=0)).sum(axis=0)
    measured = {"": found.r2} | found.silenced
    for area, channels in {"": slice(0), "M1": slice(16), "S1": slice(16, None)}.items():
        spikes = spikereach.input_spikes(checkpoint, session)[test]
        spikes[:, channels] = 0
        predicted = spikereach.decode(checkpoint, spikes).astype(float)
        r2 = (1 - np.square(true - predicted).sum(axis=0) / spread).mean()
        assert measured.pop(area) == pytest.approx(r2, rel=1e-4)
    assert not measured


def test_a_decoders_own_decode_is_in_the_same_unit(systems, session):
    """Velocities of a silent decoder are the offset; any other unit has another."""
    checkpoint = checkpoint_of("SNN2", systems)
    decoder, silence, offset = checkpoint.decoder, torch.zeros(10, 1, CHANNELS), [5.0, -50.0]
    assert torch.equal(decoder.decode(silence)[:, 0], torch.tensor([offset] * 10))
    assert torch.equal(decoder.decode_standardised(silence), torch.zeros(10, 1, 2))
    np.testing.assert_array_equal(spikereach.decode(checkpoint, silence[:, 0]), [offset] * 10)
    np.testing.assert_array_equal(spikereach.Stream(checkpoint)(np.zeros(CHANNELS)), offset)


@pytest.mark.parametrize("system", ["RTnet", "SNN2", "tinyRSNN", "GRU-t2", "Kalman", "AEGRU"])
def test_a_stream_is_late_by_its_lookahead_and_else_the_same(system, systems, session):
    checkpoint = checkpoint_of(system, systems)
    spikes = spikereach.input_spikes(checkpoint, session)[: 1024 * 2]
    stream = spikereach.Stream(checkpoint)
    assert stream.lookahead == checkpoint.decoder.timing.lookahead
    assert stream.channels == CHANNELS
    streamed = np.array([stream(one) for one in spikes[:1400]])
    assert streamed.dtype == np.float32
    whole = spikereach.decode(checkpoint, spikes)[: 1400 - stream.lookahead]
    np.testing.assert_allclose(streamed[stream.lookahead :], whole, rtol=1e-3, atol=1e-3)


def test_every_stream_begins_anew(systems, session):
    checkpoint = checkpoint_of("tinyRSNN", systems)
    spikes = spikereach.input_spikes(checkpoint, session)[:50]
    first, second = spikereach.Stream(checkpoint), spikereach.Stream(checkpoint)
    alone = [first(one) for one in spikes]
    np.testing.assert_array_equal([second(one) for one in spikes], alone)


def test_a_session_is_decoded_as_its_channels(systems, session):
    checkpoint = checkpoint_of("ANN2", systems)
    spikes = spikereach.input_spikes(checkpoint, session)
    np.testing.assert_array_equal(spikes, session.spikes)
    whole = spikereach.decode(checkpoint, session)
    assert whole.shape == session.velocity.shape
    np.testing.assert_array_equal(spikereach.decode(checkpoint, spikes), whole)
    assert not checkpoint.decoder.folded, "the checkpoint can still be trained"


@given(
    kind=st.sampled_from([bool, np.uint8, np.int64, np.float32, np.float64]), strided=st.booleans()
)
def test_spikes_of_any_type(kind, strided, systems, session):
    checkpoint = checkpoint_of("SNN2", systems)
    spikes = session.spikes[:20].astype(kind)
    spikes = np.asfortranarray(spikes) if strided else spikes
    expected = spikereach.decode(checkpoint, session.spikes[:20])
    np.testing.assert_array_equal(spikereach.decode(checkpoint, spikes), expected)
    stream = spikereach.Stream(checkpoint)
    np.testing.assert_allclose([stream(one) for one in spikes], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("spikes", "message"),
    [
        (np.zeros((5, CHANNELS + 1)), f"reads {CHANNELS} channels"),
        (np.zeros(CHANNELS), f"reads {CHANNELS} channels"),
        (np.full((5, CHANNELS), 2), "give counts > 0"),
        (np.full((5, CHANNELS), 0.5), "give counts > 0"),
        (np.full((5, CHANNELS), np.nan), "give counts > 0"),
        (np.full((5, CHANNELS), 257), "give counts > 0"),
    ],
)
def test_spikes_that_do_not_fit(spikes, message, systems):
    checkpoint = checkpoint_of("SNN2", systems)
    with pytest.raises(PassError, match=message):
        spikereach.decode(checkpoint, spikes)
    with pytest.raises(PassError, match=message):
        spikereach.Stream(checkpoint)(spikes[0])


@pytest.mark.parametrize("system", ["SNN2", "RTnet", "Wiener"])
def test_a_recording_without_steps(system, systems):
    with pytest.raises(PassError, match="have no steps"):
        spikereach.decode(checkpoint_of(system, systems), np.zeros((0, CHANNELS)))


# ---- Sessions and checkpoints that do not belong together ----------------------------------

OTHERS = {
    "another monkey": ({"monkey": "max"}, "16 M1 + 8 S1 of monkey max"),
    "other areas": ({"areas": ("M1",) * 8 + ("S1",) * 16}, "8 M1 + 16 S1 of monkey rex"),
    "another order": ({"areas": ("S1",) * 8 + ("M1",) * 16}, "8 S1 + 16 M1 of monkey rex"),
    "none of its areas": ({"areas": ("PMd",) * 24}, "24 PMd of monkey rex"),
}


@pytest.mark.parametrize(("fields", "layout"), OTHERS.values(), ids=OTHERS)
def test_another_monkey_or_other_areas_are_decoded_with_a_warning(
    fields, layout, systems, session, tmp_path
):
    checkpoint, other = checkpoint_of("SNN2", systems), changed(session, **fields)
    sentence = (
        f"SNN2 was trained on 16 M1 + 8 S1 of monkey rex, session mine has {layout}: "
        "what it decodes there may mean nothing"
    )
    for call in (spikereach.decode, spikereach.evaluate, spikereach.input_spikes):
        with pytest.warns(MismatchWarning) as caught:
            call(checkpoint, other)
        assert [str(each.message) for each in caught] == [sentence]
    with pytest.warns(MismatchWarning) as caught:
        np.testing.assert_array_equal(
            spikereach.decode(checkpoint, other), spikereach.decode(checkpoint, session.spikes)
        )
    assert caught[0].filename == __file__
    save(checkpoint, tmp_path / "SNN2.safetensors")
    other.save(tmp_path / "other.h5")
    files = str(tmp_path / "SNN2.safetensors"), str(tmp_path / "other.h5")
    for command, *options in (
        ("decode", "--out", str(tmp_path / "x.csv")),
        ("evaluate", "--neurobench-steps", "100"),
        ("stream", "--steps", "100"),
    ):
        done = CliRunner().invoke(app, [command, *files, *options])
        assert (done.exit_code, done.stderr) == (0, f"warning: {sentence}\n")


def test_its_own_monkey_and_areas_are_decoded_without_a_word(systems, session):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spikereach.decode(checkpoint_of("SNN2", systems), session)
        m1 = checkpoint_of("BMnet-M1", systems, ("M1",) * 16)
        np.testing.assert_array_equal(spikereach.input_spikes(m1, session), session.spikes[:, :16])


def test_another_number_of_channels_is_an_error(systems, session):
    fewer = changed(session, areas=("M1",) * 23, spikes=session.spikes[:, :23], monkey="max")
    with pytest.raises(EvaluationError, match="rex, session mine has 23 M1 of monkey max: use"):
        spikereach.decode(checkpoint_of("SNN2", systems), fewer)


@pytest.mark.parametrize("steps", [0, -1])
def test_neurobench_runs_over_some_steps(systems, session, steps):
    with pytest.raises(EvaluationError, match=f"neurobench_steps is {steps}: give 1 or more"):
        spikereach.evaluate(checkpoint_of("SNN2", systems), session, steps)


# ---- Files ---------------------------------------------------------------------------------


def test_a_session_file_and_what_it_is_binned_to_are_the_same(session, tmp_path):
    session.save(tmp_path / "mine.h5")
    again = spikereach.load_session(str(tmp_path / "mine.h5"))
    np.testing.assert_array_equal(again.spikes, session.spikes)
    np.testing.assert_array_equal(again.time_s, session.time_s)
    assert again.time_s[0] == 873.2


def test_a_session_file_is_described_by_both_or_a_configuration(file, repository, tmp_path):
    with pytest.raises(ConfigError, match="give both"):
        spikereach.load_session(file, monkey="rex")
    with pytest.raises(ConfigError, match="describe the file by its monkey and areas"):
        spikereach.load_session(file)
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("catalogue: {mine: {monkey: rex, areas: {M1: 24}}}\n")
    found = spikereach.load_session(file, config=[repository / "config.yaml", overlay])
    assert (found.monkey, found.areas) == ("rex", ("M1",) * 24)


@pytest.mark.parametrize("name", ["", " M1 ", "M1\n", "M1=left", "M" * 41, 1, None])
def test_areas_that_no_binned_session_may_have(name, file):
    with pytest.raises(ConfigError, match="is no name of an area"):
        spikereach.load_session(file, monkey="rex", areas={name: CHANNELS})


@pytest.mark.parametrize("channels", [0, -1, 24.0, "24", True, None])
def test_channels_that_are_no_number_of_them(channels, file):
    with pytest.raises(ConfigError, match=r"areas: M1 has .* channels: expected a whole"):
        spikereach.load_session(file, monkey="rex", areas={"M1": channels, "S1": 23})


@pytest.mark.parametrize("areas", ["M1=24", ["M1", "S1"], {}])
def test_areas_that_are_no_mapping(areas, file):
    with pytest.raises(ConfigError, match="expected channels per area"):
        spikereach.load_session(file, monkey="rex", areas=areas)


def test_channels_as_numpy_counts_them(file):
    found = spikereach.load_session(file, monkey="rex", areas={"M1": np.int64(CHANNELS)})
    assert found.areas == ("M1",) * CHANNELS


@pytest.mark.parametrize("given", [{"monkey": "max"}, {"areas": {"S1": 24}}])
def test_a_binned_session_is_not_described_otherwise(given, session, tmp_path):
    session.save(tmp_path / "mine.h5")
    with pytest.raises(ConfigError, match=r"binned as monkey rex with M1=16,S1=8, not as"):
        spikereach.load_session(tmp_path / "mine.h5", **given)
    same = {"monkey": "rex", "areas": {"M1": 16, "S1": 8}}
    assert spikereach.load_session(tmp_path / "mine.h5", **same).areas == session.areas


def test_one_configuration_by_its_name(file, repository):
    with pytest.raises(ConfigError, match="describe the file by its monkey and areas"):
        spikereach.load_session(file, config=str(repository / "config.yaml"))


def test_a_checkpoint_by_its_name(systems, session, tmp_path):
    checkpoint = checkpoint_of("SNN2", systems)
    save(checkpoint, tmp_path / "SNN2.safetensors")
    found = spikereach.load_checkpoint(str(tmp_path / "SNN2.safetensors"))
    np.testing.assert_array_equal(
        spikereach.decode(found, session), spikereach.decode(checkpoint, session)
    )


def test_an_architecture_is_trusted_by_its_whole_name(systems, tmp_path):
    other = systems["SNN2"].model_copy(update={"architecture": "mine.nets:Net"})
    checkpoint = checkpoint_of("SNN2", systems)
    checkpoint.system = other
    save(checkpoint, tmp_path / "mine.safetensors")
    with pytest.raises(CheckpointError, match=r"needs the architecture .mine\.nets:Net."):
        spikereach.load_checkpoint(tmp_path / "mine.safetensors", trust="mine.nets:Network")


# ---- Names ---------------------------------------------------------------------------------


def test_the_package_offers_them_and_imports_them_late():
    code = """
import sys
import spikereach
print({"torch", "h5py", "numpy", "spikereach.api"} & set(sys.modules))
print(set(spikereach.__all__) <= set(dir(spikereach)))
from spikereach import *
print(decode is spikereach.api.decode, {"torch", "numpy"} <= set(sys.modules))
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\nTrue\nTrue True\n"


def test_its_names_are_those_of_the_module():
    from spikereach import api

    assert api.__all__ == spikereach.__all__
    with pytest.raises(AttributeError, match="module 'spikereach' has no attribute 'decoder'"):
        spikereach.decoder  # noqa: B018
