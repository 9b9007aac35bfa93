"""docs/graphs.md, done: its code is taken from the document itself."""

import json

import pytest
import torch

import markdown
from spikereach.models.checkpoint import save
from spikereach.models.zoo import build
from training_cases import CHANNELS, checkpoint, rsnn, stage, system

pytest.importorskip("nir")
pytest.importorskip("onnxruntime")

SIZES = {"blocks": 2, "kernel": 3, "conv_channels": 4, "lif_layers": 1, "lif_units": 6}


@pytest.fixture(scope="module")
def ran(repository, tmp_path_factory):
    """What all blocks, one after the other, leave behind."""
    document, folder, names = repository / "docs" / "graphs.md", tmp_path_factory.mktemp("g"), {}
    torch.manual_seed(0)
    hybrid = system("hybrid", sizes=SIZES | {"dropout": 0.1}, finetune=stage())
    for name, entry in (("RTnet", hybrid), ("tinyRSNN", rsnn())):
        made = checkpoint(build(entry, CHANNELS), entry)
        save(made, folder / f"{name}.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in markdown.python(document):
            exec(compile(block, document.name, "exec"), names)
    return names


def test_every_block_of_the_document_runs(ran):
    assert len(ran["decoded"]) == 500
    assert ran["network"].metadata["dt"] == 0.004


def test_states_of_the_document_are_those_of_the_graph(ran, repository):
    text = (repository / "docs" / "graphs.md").read_text("utf-8")
    assert all(
        f"`{state.rpartition('.')[2]}`" in text for state in json.loads(ran["told"]["start"])
    )
