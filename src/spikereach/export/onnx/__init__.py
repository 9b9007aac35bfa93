"""Decoders as ONNX graphs of one step, with states as inputs and outputs.

Spikes of a bin enter as float32 (channels,), 0 or 1; velocity (2,) leaves, standardised as trained.
A state ``NAME`` is an input, and ``NAME.next`` the output that the next step gets for it. A stream
begins with those of :func:`initial_states`, which the metadata has as ``start``: per state one
number, of all its values. They are no default values of inputs, which tools take for constants.
"""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from spikereach.export.errors import ExportError
from spikereach.export.graphs import description, package, stages_of
from spikereach.export.onnx.building import Builder
from spikereach.export.onnx.stages import sequence
from spikereach.models.decoder import Decoder
from spikereach.models.stages import Convolution, Linear, Parallel, Stage, flat

if TYPE_CHECKING:
    from onnx import ModelProto


def graph(decoder: Decoder, metadata: Mapping[str, Any]) -> "ModelProto":
    """One step of a decoder.

    Args:
        decoder: in any number format.
        metadata: where it comes from, such as system, session, commit and the checkpoint's
            SHA-256; stored beside what :func:`.description` adds.
    Returns:
        A model with the input ``spikes``, the output ``velocity``, and states.
    Raises:
        ExportError: a stage has no ONNX graph, the decoder has no velocity at some steps, or the
            package onnx is missing.
    """
    builder = Builder()
    last = sequence(builder, stages_of(decoder), builder.spikes(decoder.channels))
    if last.ready is not None:
        raise ExportError(
            f"{type(decoder).__name__} has no velocity at some steps: end its stages with "
            "Keypoints, which interpolate"
        )
    builder.output(last.value, "velocity", np.float32, (2,))
    return builder.model("decoder", description(decoder, metadata))


def convolutions(decoder: Decoder, metadata: Mapping[str, Any]) -> "ModelProto":
    """One step of a decoder's convolutional half: all stages before the first neurons.

    Args:
        decoder: one that begins with convolutions.
        metadata: as for :func:`graph`.
    Returns:
        A model with the input ``spikes``, the outputs ``frames`` (features,), those of
        several areas joined, and ``complete``, a Boolean: whether this step completes frames
        (without it they mean nothing), and buffers as states.
    Raises:
        ExportError: the decoder has no convolutions, or as :func:`graph`.
    """
    builder = Builder()
    half = _before_neurons(stages_of(decoder))
    convs = [stage for stage in flat(half) if isinstance(stage, Convolution)]
    if not convs:
        raise ExportError(
            f"{type(decoder).__name__} has no convolutions, which this graph is of: export the "
            "whole decoder"
        )
    last = sequence(builder, half, builder.spikes(decoder.channels))
    builder.output(last.value, "frames", np.float32, (last.size,))
    builder.output(last.ready, "complete", np.bool_, ())
    return builder.model("convolutions", description(decoder, metadata))


def initial_states(model: "ModelProto") -> dict[str, np.ndarray]:
    """The states with which a stream begins, by name, of a graph made here."""
    helper = package("onnx.helper")
    start = json.loads({each.key: each.value for each in model.metadata_props}["start"])
    found = {}
    for each in model.graph.input:
        if each.name in start:
            kind = each.type.tensor_type
            shape = [size.dim_value for size in kind.shape.dim]
            dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
            found[each.name] = np.full(shape, start[each.name], dtype)
    return found


def _before_neurons(stages: Sequence[Stage]) -> list[Stage]:
    """The stages before the first one of neurons, within branches too."""
    found: list[Stage] = []
    for stage in stages:
        if isinstance(stage, Parallel):
            branches = tuple(tuple(_before_neurons(branch)) for branch in stage.branches)
            found.append(Parallel(stage.channels, branches))
            if branches != stage.branches:
                return found
        elif isinstance(stage, Convolution | Linear):
            found.append(stage)
        else:
            return found
    return found
