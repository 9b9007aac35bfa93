"""What each format of exports puts into a folder."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any, Literal

import numpy as np

from spikereach.export import c, folder, nir, onnx
from spikereach.export.graphs import package
from spikereach.export.program import program
from spikereach.models.decoder import Decoder
from spikereach.models.stages import Convolution, flat

Form = Literal["c", "onnx", "nir"]
BINS = 512
"""On which an exported decoder is compared."""
RATE = 0.1
"""Of random spikes, per channel and bin."""


def random_spikes(channels: int) -> np.ndarray:
    """(:data:`BINS`, channels) of 0 and 1 at :data:`RATE`, by NumPy's generator of seed 0."""
    drawn = np.random.default_rng(0).random((BINS, channels))
    return (drawn < RATE).astype(np.uint8)


def contents(
    form: Form, decoder: Decoder, told: Mapping[str, Any], spikes: np.ndarray
) -> dict[str, bytes]:
    """Files of an exported decoder by name, but for the manifest.

    Args:
        form: ``c``, a folder with sources, Makefile and vectors; ``onnx``, the decoder and, where
            it begins with convolutions, these alone; ``nir``.
        decoder: in evaluation mode, batch norms folded.
        told: of `folder.about`.
        spikes: (T, C) of 0 and 1, on which C is compared with Python.
    Raises:
        ExportError: the format cannot hold the decoder.
        NoStagesError: a layer does not say what it computes.
    """
    if form == "c":
        return c.files(program(decoder), spikes, folder.lines(told))
    if form == "nir":
        file = BytesIO()
        package("nir").write(file, nir.graph(decoder, told))
        return {"decoder.nir": file.getvalue()}
    graphs = {"decoder.onnx": onnx.graph(decoder, told)}
    if any(isinstance(stage, Convolution) for stage in flat(decoder.stages())):
        graphs["convolutions.onnx"] = onnx.convolutions(decoder, told)
    return {name: graph.SerializeToString(deterministic=True) for name, graph in graphs.items()}
