"""Decoders as graphs of the Neuromorphic Intermediate Representation (NIR, Pedersen et al. 2024).

NIR's nodes are differential equations, a decoder takes steps of 4 ms. The constants written are
those with which the forward Euler rule, the one that simulators of NIR use, gives the decoder's own
steps. Metadata say what NIR leaves open: when within a step neurons fire, reset and receive.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import torch

from spikereach.export.errors import ExportError
from spikereach.export.graphs import array, description, package, stages_of
from spikereach.models import stages
from spikereach.models.decoder import STEP_S, Decoder

if TYPE_CHECKING:
    from nir import NIRGraph

RULE = (
    "Forward Euler with steps of dt seconds: tau dx/dt = -x + y becomes x = (1 - dt/tau) x + "
    "(dt/tau) y. Each node of neurons has under 'step' what it does at each step, in this order; "
    "'before' means as the last step left it. All variables are zero before the first step, but v "
    "is 'v_start' in a node that has it. Linear and Affine nodes and sums of edges take no time; "
    "a recurrent edge carries the spikes that 'step' names. Where 'arithmetic' is float16, the "
    "factors (1 - dt/tau), (dt/tau) r and (dt/tau_syn) w_in, each product with them, each sum, and "
    "the output of each Linear node but 'mean' are rounded to IEEE 754 binary16."
)

STEPS = {
    "CubaLIF": "1. z = [v > v_threshold], of v before. 2. v = (1 - dt/tau_mem) v + (dt/tau_mem) "
    "(v_leak + r I), of v and I before; but v = v_reset where z = 1. 3. I = (1 - dt/tau_syn) I + "
    "(dt/tau_syn) w_in S, of I before, with S what arrived before. 4. The inputs of this step "
    "arrive, and this step's z through the recurrent edge: both are S of the next step. "
    "5. Output: z.",
    "CubaLI": "1. v = (1 - dt/tau_mem) v + (dt/tau_mem) (v_leak + r I), of v and I before. "
    "2. I = (1 - dt/tau_syn) I + (dt/tau_syn) w_in S, of I before, with S what arrived before. "
    "3. The inputs of this step arrive: they are S of the next step. 4. Output: v.",
    "zero": "1. v = v_reset where z before is 1. 2. v = (1 - dt/tau) v + (dt/tau) (v_leak + r I), "
    "with I the inputs of this step and, through a recurrent edge if there is one, z before. "
    "3. z = [v > v_threshold]. 4. Output: z.",
    "zero_and_input": "1. v = (1 - dt/tau) v + (dt/tau) (v_leak + r I), with I the inputs of this "
    "step and, through a recurrent edge if there is one, z before. 2. v = v_reset where z before "
    "is 1, so that what a neuron receives one step after its spike is lost. "
    "3. z = [v > v_threshold]. 4. Output: z.",
    "LI": "1. v = (1 - dt/tau) v + (dt/tau) (v_leak + r I), with I the inputs of this step. "
    "2. Output: v.",
}
"""What a step does, by kind of node; of LIF nodes by their reset."""

LACKING = {
    stages.Convolution: "pools sum or average, there is no maximum of two frames",
    stages.Keypoints: "there is no interpolation, and no node that works once in several steps",
    stages.Parallel: "there is no node that splits channels among areas",
}


def graph(decoder: Decoder, metadata: Mapping[str, Any]) -> "NIRGraph":
    """A decoder as a network of NIR's nodes.

    Args:
        decoder: of Linear, LIF or CurrentLIF, Integrator or CurrentIntegrator, and Mean stages,
            such as RSNN and SNN2, in floating point.
        metadata: where it comes from, such as system, session, commit and the checkpoint's
            SHA-256; stored beside what :func:`.description` adds, :data:`RULE`, ``dt`` in seconds
            and ``arithmetic``.
    Returns:
        The network from ``spikes`` (channels,) to ``velocity`` (2,), standardised as trained.
    Raises:
        ExportError: a stage that NIR cannot hold, and why; or the package nir is missing.
    """
    network = _Network(decoder.channels)
    for stage in stages_of(decoder):
        network.add(stage)
    arithmetic = "float16" if network.half else "float32"
    own = {"rule": RULE, "dt": STEP_S, "arithmetic": arithmetic}
    return network.graph({**description(decoder, metadata), **own})


class _Network:
    """A chain of nodes, with recurrent edges."""

    def __init__(self, channels: int):
        self.nir = package("nir")
        self.nodes = {"spikes": self.nir.Input(np.array([channels]))}
        self.edges: list[tuple[str, str]] = []
        self.last, self.size = "spikes", channels
        self.half = False

    def add(self, stage: stages.Stage) -> None:
        """Put a stage after the last one."""
        match stage:
            case stages.Linear():
                self._follow(stage.name, self._linear(stage), len(stage.weight))
            case stages.LIF() | stages.CurrentLIF():
                self.add(stage.input)
                made = self._lif(stage) if isinstance(stage, stages.LIF) else self._cuba(stage)
                self._follow(stage.name, made, self.size)
                if stage.recurrent is not None:
                    name = stage.recurrent.name
                    self._keep(name, self._linear(stage.recurrent))
                    self.edges += [(stage.name, name), (name, stage.name)]
            case stages.Integrator():
                self._follow(stage.name, self._li(stage), self.size)
            case stages.CurrentIntegrator():
                self._follow(stage.name, self._cuba(stage), self.size)
            case stages.Mean():
                self._mean(stage.groups)
            case _:
                within = (each for each in stages.flat([stage]) if type(each) in LACKING)
                found = next(within, stage)
                _refuse(found, LACKING.get(type(found), "no node is known for it"))

    def graph(self, metadata: Mapping[str, Any]) -> "NIRGraph":
        """All nodes, from spikes to velocity."""
        self._follow("velocity", self.nir.Output(np.array([self.size])), self.size)
        return self.nir.NIRGraph(self.nodes, self.edges, metadata=dict(metadata))

    def _keep(self, name: str, node) -> None:
        if name in self.nodes:
            raise ExportError(f"two layers are named {name}: give stages names of their own")
        self.nodes[name] = node

    def _follow(self, name: str, node, size: int) -> None:
        self._keep(name, node)
        self.edges.append((self.last, name))
        self.last, self.size = name, size

    def _linear(self, stage: stages.Linear):
        weight = array(stage.weight.float())
        if stage.bias is None:
            return self.nir.Linear(weight)
        return self.nir.Affine(weight, array(stage.bias.float()))

    def _mean(self, groups: int) -> None:
        if groups > 1:
            size = self.size // groups
            weight = np.tile(np.eye(size, dtype=np.float32) / np.float32(groups), groups)
            self._follow("mean", self.nir.Linear(weight), size)

    def _lif(self, stage: stages.LIF):
        if stage.reset not in STEPS:
            _refuse(
                stage,
                f"a spike sets the membrane to a value, the reset {stage.reset!r} does not",
            )
        return self.nir.LIF(
            **self._leaky(stage),
            v_threshold=np.full(self.size, float(stage.threshold)),
            v_reset=np.zeros(self.size),
            metadata={"step": STEPS[stage.reset]},
        )

    def _li(self, stage: stages.Integrator):
        return self.nir.LI(**self._leaky(stage), metadata={"step": STEPS["LI"]})

    def _leaky(self, stage: stages.LIF | stages.Integrator) -> dict[str, np.ndarray]:
        """Constants of a membrane that gets its whole input in one step: r dt/tau is 1."""
        _check_format(stage, half=False)
        tau = _time_constant(stage, np.full(self.size, float(stage.decay)))
        return {"tau": tau, "r": tau / STEP_S, "v_leak": np.zeros(self.size)}

    def _cuba(self, stage: stages.CurrentLIF | stages.CurrentIntegrator):
        half = stage.mem.dtype == torch.float16
        _check_format(stage, half)
        self.half |= half
        tau_syn = _time_constant(stage, array(stage.syn.double()))
        constants = {
            "tau_mem": _time_constant(stage, array(stage.mem.double())),
            "tau_syn": tau_syn,
            "r": np.ones(self.size),
            "v_leak": np.zeros(self.size),
            "w_in": tau_syn / STEP_S,  # what arrives enters the current as it is
        }
        if isinstance(stage, stages.CurrentIntegrator):
            start = float(torch.tensor(stage.start, dtype=stage.mem.dtype))
            return self.nir.CubaLI(
                **constants, metadata={"step": STEPS["CubaLI"], "v_start": start}
            )
        return self.nir.CubaLIF(
            **constants,
            v_threshold=np.ones(self.size),
            v_reset=np.zeros(self.size),
            metadata={"step": STEPS["CubaLIF"]},
        )


def _time_constant(stage: stages.Stage, decay: np.ndarray) -> np.ndarray:
    """In seconds, (N,) float64: that of which forward Euler makes this decay per step."""
    if not (decay < 1).all():
        _refuse(stage, f"membranes and currents leak, a decay of {decay.max():g} per step does not")
    return STEP_S / (1 - decay)


def _check_format(stage: stages.Stage, half: bool) -> None:
    """Half precision is told in the metadata, as arithmetic that merely rounds."""
    if isinstance(stage.membranes, tuple):
        integer, fractional = stage.membranes
        _refuse(
            stage,
            f"numbers are real, there is no rounding of membranes to {fractional} fractional bits "
            f"and no saturation at {integer} integer bits",
        )
    if stage.membranes == "float16" and not half:
        _refuse(stage, "numbers are real, there is no rounding of membranes to float16")


def _refuse(stage: Any, lacking: str) -> NoReturn:
    name = getattr(stage, "name", "")
    raise ExportError(
        f"NIR cannot hold the stage {type(stage).__name__}{f' {name}' * bool(name)}: in NIR "
        f"{lacking}; export the decoder as ONNX"
    )
