"""docs/python.md, done: its code is taken from the document itself."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pytest

import markdown
from spikereach import config
from spikereach.config.sessions import Session
from spikereach.data import synthetic
from spikereach.data.binning import bin_session
from spikereach.evaluation.evaluate import measure, write_predictions
from spikereach.evaluation.metrics import r2
from spikereach.models.checkpoint import save
from spikereach.training.fit import fit


@pytest.fixture(scope="module")
def document(repository):
    return repository / "docs" / "python.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, repository):
    """With a synthetic recording, an RTnet that was trained on it for a moment, and its result."""
    folder = tmp_path_factory.mktemp("python")
    session = Session("synthetic_indy_1", "synthetic_indy", {"M1": 96})
    synthetic.generate(session, folder / "mine.mat", duration_s=60.0, seed=0)
    system = config.read(repository / "config.yaml").systems["RTnet"]
    stage = system.training.finetune.model_copy(
        update={"epochs": 3, "batch": 4, "window": 1024, "stride": 256, "updates_per_epoch": None}
    )
    training = system.training.model_copy(update={"finetune": stage})
    binned = bin_session(folder / "mine.mat", Session("mine", "rex", {"M1": 96}))
    checkpoint, _ = fit(
        system.model_copy(update={"training": training}),
        [binned],
        system_name="RTnet",
        dataset="mine",
        stage="finetune",
        seed=0,
        resume=folder / "resume",
        device="cpu",
        progress=False,
    )
    save(checkpoint, folder / "checkpoint.safetensors")
    write_predictions(measure(checkpoint, binned, 500), folder / "predictions.h5")
    return folder


@pytest.fixture(scope="module")
def ran(document, folder):
    """What all blocks, one after the other, leave behind."""
    names = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in markdown.python(document):
            exec(compile(block, document.name, "exec"), names)
    plt.close("all")
    return names


def test_every_block_of_the_document_runs(ran, document, folder):
    assert len(markdown.python(document)) == document.read_text("utf-8").count("```python")
    assert (folder / "velocity.png").read_bytes().startswith(b"\x89PNG")


def test_what_it_says_of_the_arrays_is_so(ran, folder):
    session, metrics = ran["session"], ran["metrics"]
    assert metrics.r2 == pytest.approx(r2(ran["predicted"], ran["true"]), abs=1e-6)
    assert metrics.r2 > 0.1, "in another unit it would be far below 0"
    np.testing.assert_allclose(ran["time_s"], session.time_s[ran["test"].start :], atol=1e-9)
    np.testing.assert_array_equal(ran["inputs"], ran["spikes"])


def test_what_it_says_of_the_stream_is_so(ran):
    assert ran["stream"].lookahead == 26
    size = np.sqrt(np.square(ran["predicted"]).mean())
    assert np.quantile(ran["difference"], 0.9) < 1e-4 * size


def test_it_names_all_that_is_offered(document):
    import spikereach

    named = set(re.findall(r"spikereach\.(\w+)\(", document.read_text("utf-8")))
    assert named == set(spikereach.__all__)
