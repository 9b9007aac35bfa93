"""The operations over time as the common suite sees them: one entry of `OPERATIONS` each.

The suite compares a backend with the reference: the compiled loops, or, in a process with
TRITON_INTERPRET in its environment, the Triton kernels (1: interpreted on the CPU; 0: on a GPU).
"""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spikereach.ops.common import backends
from spikereach.ops.common.dropout import draw_dropout
from spikereach.ops.common.spikes import Spikes
from spikereach.ops.common.surrogates import arctan, fast_sigmoid, triangle
from spikereach.ops.current_lif import scan_current_lif
from spikereach.ops.current_lif.step import CurrentLayers, CurrentParameters, CurrentState
from spikereach.ops.gru import scan_gru
from spikereach.ops.integrator import scan_current_integrator, scan_integrator
from spikereach.ops.lif import scan_lif
from spikereach.ops.lif.step import RESETS, LIFParameters, LIFState
from spikereach.ops.spiking_gru import GRULayers, scan_spiking_gru

TRITON = os.environ.get("TRITON_INTERPRET")
BACKEND = "cpu" if TRITON is None else "cuda"
DEVICE = torch.device("cuda" if TRITON == "0" else "cpu")

Tensors = dict[str, Tensor]
Options = dict[str, Any]


class Layer(nn.Module):
    """Linear layer of a given weight, a parameter or not."""

    def __init__(self, weight: Tensor):
        super().__init__()
        self.weight = weight

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight)


def silent(batch: int, units: int) -> LIFState:
    return LIFState(*torch.zeros(2, batch, units, device=DEVICE))


def generator(options: Options) -> torch.Generator:
    return torch.Generator().manual_seed(options["seed"])


def decays(options: Options, *names: str) -> Tensors:
    g = generator(options)
    shape = () if options.get("scalar") else (options["units"],)
    return {name: torch.rand(shape, generator=g) * 0.35 + 0.55 for name in names}


def states(options: Options, *names: str) -> Tensors:
    g = generator(options)
    shape = options["batch"], options["units"]
    return {name: torch.randn(shape, generator=g) for name in names}


def currents(options: Options, *, width: int = 1) -> Tensor:
    shape = options["steps"], options["batch"], width * options["units"]
    return torch.randn(shape, generator=generator(options))


def draw_lif(options: Options) -> Tensors:
    drawn = {"currents": currents(options) * 0.7} | decays(options, "decay") | states(options, "v")
    drawn["z"] = (drawn["v"] > 0.8).float()
    if options["recurrent"]:
        shape = options["units"], options["units"]
        drawn["recurrent"] = torch.randn(shape, generator=generator(options)) / shape[0] ** 0.5
    return drawn


def run_lif(t: Tensors, options: Options, backend: str) -> tuple[Tensor, ...]:
    z, state = scan_lif(
        t["currents"],
        Layer(t["recurrent"]) if "recurrent" in t else None,
        LIFParameters(t["decay"], 0.75),
        LIFState(t["v"], t["z"]),
        surrogate=options["surrogate"],
        reset=options["reset"],
        fixed_point=options["fixed_point"],
        backend=backend,
    )
    return z, *state


def draw_current_lif(options: Options) -> Tensors:
    g, units, inputs = generator(options), options["units"], options["inputs"]
    return {
        "input": torch.randn(units, inputs, generator=g) * (7 / inputs) ** 0.5,
        "recurrent": torch.randn(units, units, generator=g) / units**0.5,
        "output": torch.randn(options["outputs"], units, generator=g),
        **decays(options, "mem", "syn"),
        **states(options, "v", "i", "arriving"),
    }


def run_current_lif(t: Tensors, options: Options, backend: str) -> tuple[Tensor, ...]:
    steps, batch, kind = options["steps"], options["batch"], options["kind"]
    g = generator(options)
    x = torch.rand(steps, batch, options["inputs"], generator=g) < 0.3
    x = x * torch.randn(x.shape, generator=g) if kind.is_floating_point else x
    torch.manual_seed(options["seed"])
    dropout = [
        None if p is None else draw_dropout(shape, p, DEVICE)
        for shape, p in zip(
            (x.shape, (steps, batch, options["units"])), options["dropout"], strict=True
        )
    ]
    with pytest.MonkeyPatch.context() as patch:
        if options["wide"]:  # on CUDA, as layers of more units
            patch.setattr(backends, "MAX_UNITS", 0)
        z, out, state = scan_current_lif(
            x.to(DEVICE, kind),
            CurrentLayers(*(Layer(t[name]) for name in ("input", "recurrent", "output"))),
            CurrentParameters(t["mem"], t["syn"]),
            CurrentState(t["v"], t["i"], t["arriving"]),
            surrogate=options["surrogate"],
            dropout=dropout,
            fixed_point=options.get("fixed_point"),
            backend=backend,
        )
    return z, out, *state


def draw_integrator(options: Options) -> Tensors:
    return {"currents": currents(options)} | decays(options, "decay") | states(options, "v")


def run_integrator(t: Tensors, options: Options, backend: str) -> tuple[Tensor, ...]:
    rules = {"fixed_point": options.get("fixed_point"), "backend": backend}
    return scan_integrator(t["currents"], t["decay"], t["v"], **rules)


def draw_current_integrator(options: Options) -> Tensors:
    drawn = decays(options, "mem", "syn") | states(options, "v", "i", "arriving")
    return {"currents": currents(options)} | drawn


def run_current_integrator(t: Tensors, options: Options, backend: str) -> tuple[Tensor, ...]:
    parameters = CurrentParameters(t["mem"], t["syn"])
    state = CurrentState(t["v"], t["i"], t["arriving"])
    rules = {"fixed_point": options.get("fixed_point"), "backend": backend}
    membranes, last = scan_current_integrator(t["currents"], parameters, state, **rules)
    return membranes, *last


def draw_gru(options: Options) -> Tensors:
    g, units, inputs = generator(options), options["units"], options["inputs"]
    return {
        "x": torch.randn(options["steps"], options["batch"], inputs, generator=g),
        "weight_ih": torch.randn(3 * units, inputs, generator=g) / inputs**0.5,
        "weight_hh": torch.randn(3 * units, units, generator=g) / units**0.5,
        "bias_ih": torch.randn(3 * units, generator=g),
        "bias_hh": torch.randn(3 * units, generator=g),
        **states(options, "hidden"),
    }


def run_gru(t: Tensors, options: Options, backend: str) -> tuple[Tensor, ...]:
    cell = nn.GRUCell(options["inputs"], options["units"], device=DEVICE, dtype=t["x"].dtype)
    with torch.no_grad():
        for name, parameter in cell.named_parameters():
            parameter.copy_(t[name])
        return (scan_gru(t["x"], cell, t["hidden"], backend=backend),)


def draw_spiking_gru(options: Options) -> Tensors:
    g, units = generator(options), options["units"]
    return {
        "currents": currents(options, width=3),
        "gates": torch.randn(2 * units, units, generator=g) / units**0.5,
        "candidate": torch.randn(units, units, generator=g) / units**0.5,
        "hidden": torch.rand(options["batch"], units, generator=g) * 2 - 1,
    }


def run_spiking_gru(t: Tensors, options: Options, backend: str) -> tuple[Tensor, ...]:
    with torch.no_grad():
        hidden, spikes = scan_spiking_gru(
            t["currents"],
            GRULayers(Layer(t["gates"]), Layer(t["candidate"]), Spikes()),
            LIFParameters(0.8),
            t["hidden"],
            surrogate=options["surrogate"],
            buffer_format=options["buffer_format"],
            backend=backend,
        )
    return spikes, hidden


class Operation(NamedTuple):
    draw: Callable[[Options], Tensors]
    """tensors to differentiate"""
    run: Callable[[Tensors, Options, str], tuple[Tensor, ...]]
    """outputs: a sequence (T, B, ...) first"""
    options: dict[str, list[Any]]
    """what there is to choose, beside the sizes"""
    parts: tuple[int, ...] = (1,)
    """units that spike at a time, one after the other in each step, in the operation's units; none
    where the first output is not of spikes"""
    backends: tuple[str, ...] = ("cpu", "cuda")
    differentiable: bool = True


SURROGATES = {"surrogate": [fast_sigmoid(5.0), triangle(0.3), arctan(2.0)]}
LIF = {
    "reset": list(RESETS),
    "recurrent": [True, False],
    "fixed_point": [None, (0, 3), (1, 4), (3, 12)],
    "scalar": [False, True],
}
CURRENT_LIF = {
    "inputs": [1, 7, 96],
    "outputs": [1, 2, 10],
    "dropout": [(None, None), (0.0, 0.3), (0.3, 0.3), (0.9, None)],
    "kind": [torch.uint8, torch.bool, torch.float32, torch.float64],
    "wide": [False, True],
}
OPERATIONS = {
    "lif": Operation(draw_lif, run_lif, SURROGATES | LIF),
    "current_lif": Operation(draw_current_lif, run_current_lif, SURROGATES | CURRENT_LIF),
    "integrator": Operation(draw_integrator, run_integrator, {"scalar": [False, True]}, parts=()),
    "current_integrator": Operation(draw_current_integrator, run_current_integrator, {}, parts=()),
    "gru": Operation(
        draw_gru,
        run_gru,
        {"inputs": [1, 7]},
        parts=(),
        backends=("cpu",),
        differentiable=False,
    ),
    "spiking_gru": Operation(
        draw_spiking_gru,
        run_spiking_gru,
        SURROGATES | {"buffer_format": ["float32", "float16", (1, 4)]},
        parts=(2, 1),
        backends=("cpu",),
        differentiable=False,
    ),
}


def differentiated(operation, options, backend, kind=torch.float32):
    """Outputs, and gradients of all tensors for a random loss of all outputs but, perhaps, the
    sequence."""
    drawn = operation.draw(options)
    leaves = {
        name: t.to(DEVICE, kind).requires_grad_(operation.differentiable)
        for name, t in drawn.items()
    }
    outputs = operation.run(leaves, options, backend)
    if operation.differentiable:
        generator, loss = torch.Generator().manual_seed(5), 0
        for number, output in enumerate(outputs):
            way = "each step" if number else options["loss"]
            if way is not None:
                output = {"sum over time": output.sum(0), "mean": output.mean()}.get(way, output)
                draw = torch.randn(output.shape, generator=generator).to(DEVICE)
                loss = loss + (output * draw).sum()
        loss.backward()
    return [o.detach() for o in outputs], {name: leaf.grad for name, leaf in leaves.items()}
