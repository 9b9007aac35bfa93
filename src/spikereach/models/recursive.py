"""A decoder without kernels: leaky integrators of projected spikes, then recurrent LIF layers."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spikereach.models import streams
from spikereach.models.decoder import STEP_S, BufferSize, Decoder, Timing
from spikereach.models.hybrid import MEMBRANE_SPREAD, STEPS, Chain
from spikereach.models.initial import likely_spikes, spread_membranes
from spikereach.models.keypoints import interpolate
from spikereach.models.layers import Linear
from spikereach.models.recurrent_lif import RecurrentLIF, neuron
from spikereach.models.rsnn import decays
from spikereach.ops.common.cpu import values
from spikereach.ops.common.dropout import ChannelDropout
from spikereach.ops.common.fixed_point import Formats, bits_of
from spikereach.ops.common.precision import precise
from spikereach.ops.integrator import scan_integrator
from spikereach.ops.integrator.stream import IntegratorStream
from spikereach.ops.lif.step import LIFParameters, LIFState

INITIAL = math.log(math.e - 1)
"""softplus of it is one: a time constant that is still the configured one."""


class RecursiveState(NamedTuple):
    """All that a stream carries over."""

    traces: Tensor
    """(B, taus x features)"""
    phase: int
    """steps since the last keypoint"""
    neurons: tuple[LIFState, ...]
    """by layer"""
    keypoint: Tensor
    """(0 or 1, B, 2): the latest keypoint, which the next one is averaged with"""
    ready: Tensor
    """(n, B, 2): velocities not yet due; at first the silence before the first keypoint"""


class LearnedLIF(RecurrentLIF):
    """Neurons with a learned time constant each.

    Args:
        inputs, units, name: as of :class:`RecurrentLIF`.
        taus_ms: initial time constants, each of as many neurons.
        period: steps of 4 ms between two updates.
        surrogate, slope: as of :func:`.neuron`.
    """

    def __init__(
        self,
        inputs: int,
        units: int,
        name: str,
        taus_ms: Sequence[float],
        period: int,
        surrogate: str,
        slope: float,
    ):
        super().__init__(inputs, units, name, *neuron(min(taus_ms), period, surrogate, slope))
        self.taus = [tau / period for tau in taus_ms]
        self.tau_param = nn.Parameter(torch.full((units,), INITIAL))

    @property
    def constants(self) -> LIFParameters:
        return LIFParameters(decays(self.taus, self.tau_param.float()))


class Recursive(Decoder):
    r"""Traces of projected spikes, recurrent LIF layers, and keypoints that are interpolated.

    RTnet's convolutions are replaced by recursive filters. Spikes are projected to features, and
    each feature is integrated with several time constants, learned per trace:

    .. math:: v_m \leftarrow d_m v_m + W s + b, \quad d = e^{-\Delta t / \tau}

    Every ``period`` steps the traces enter :class:`LearnedLIF` layers; the keypoint is a
    running average, :math:`d` of the last one and :math:`1 - d` of what a linear layer reads out
    of the spikes; velocities in between are interpolated linearly. No past input is kept, and the
    projection costs as much as there are spikes.

    A keypoint stands for the step ``lookahead`` steps before its latest input, so that the
    velocity just after a keypoint comes ``lookahead + period - 1`` steps late.

    Args:
        channels: input channels C.
        features: projections of the spikes.
        taus_ms: initial time constants of the traces of each feature.
        lif_layers: recurrent layers.
        lif_units: neurons per layer.
        dropout: probability of dropping a trace on its way to the neurons, in training.
        unit_dropout: the same of a spike on its way to the read-out.
        channel_dropout: probability that, in training, an input channel is silent for a window.
        period: steps from one keypoint to the next.
        lookahead: input after a keypoint that it waits for, in steps.
        taus_mem_ms: initial time constants of the membranes, each of as many neurons of a layer.
        readout_tau_ms: time constant of the read-out.
        surrogate: ``fast_sigmoid``, ``triangle`` or ``arctan``.
        slope: the surrogate's slope (of the triangle: its peak).

    Raises:
        ValueError: sizes that do not fit each other.
    """

    takes_bytes = True

    def __init__(
        self,
        *,
        channels: int,
        features: int,
        taus_ms: Sequence[float],
        lif_layers: int,
        lif_units: int,
        dropout: float,
        unit_dropout: float,
        channel_dropout: float = 0.0,
        period: int = 4,
        lookahead: int = 0,
        taus_mem_ms: Sequence[float] = (100.0,),
        readout_tau_ms: float = 50.0,
        surrogate: str = "fast_sigmoid",
        slope: float = 5.0,
    ):
        needed = features, lif_layers, lif_units, period, len(taus_ms), len(taus_mem_ms)
        if min(*needed, lookahead + 1) < 1:
            raise ValueError(
                "features, layers, units, period and time constants must be at least 1, the "
                "look-ahead 0"
            )
        if not min(*taus_ms, *taus_mem_ms, readout_tau_ms) > 0:
            raise ValueError(
                f"time constants must be positive, got {list(taus_ms)}, {list(taus_mem_ms)} and "
                f"{readout_tau_ms} ms"
            )
        if not 0 <= min(dropout, unit_dropout) <= max(dropout, unit_dropout) <= 1:
            raise ValueError(
                f"dropout ({dropout}) and unit_dropout ({unit_dropout}) must be 0 to 1"
            )
        super().__init__(
            channels=channels,
            timing=Timing(
                lookahead=lookahead + period - 1,
                update_period=period,
                latency_steps=lookahead + 1,
            ),
        )
        self.taus_ms, self.dropout, self.unit_dropout = list(taus_ms), dropout, unit_dropout
        self.channel_dropout = ChannelDropout(channel_dropout)
        self.projection = Linear(channels, features)
        self.trace_param = nn.Parameter(torch.full((features * len(taus_ms),), INITIAL))
        traces = len(self.trace_param)
        decay = decays(self.taus_ms, self.trace_param.detach())
        self.gain: Tensor | None = nn.Buffer((1 - decay**2).sqrt(), persistent=False)
        """Of traces, so that all vary as much at first; None once it is in the weights."""
        self.net = Chain(
            LearnedLIF(
                lif_units if layer > 1 else traces,
                lif_units,
                f"lif{layer}",
                taus_mem_ms,
                period,
                surrogate,
                slope,
            )
            for layer in range(1, lif_layers + 1)
        )
        learned = (f"net.{number}.tau_param" for number in range(lif_layers))
        self.unstored = frozenset({"trace_param", *learned})
        self.readout = Linear(lif_units, 2)
        self.readout_decay = math.exp(-period * STEP_S * 1000 / readout_tau_ms)

    def initialise(self, rates_hz: Tensor, generator: torch.Generator) -> None:
        """Features of unit variance around zero, and membranes that vary by a threshold."""
        rates = (rates_hz * STEP_S).float()
        drawn = torch.randn(self.projection.weight.shape, generator=generator)
        spikes = likely_spikes(rates_hz, STEPS, generator).float()
        with torch.no_grad():
            self.projection.weight.copy_(drawn / rates.sum().sqrt())
            self.projection.bias.copy_(-(self.projection.weight @ rates))
            x = self._traces(spikes, self.init_state(spikes.shape[1]))[0]
            for layer in self.net:
                spread_membranes(layer.input, x, layer.constants.decay, MEMBRANE_SPREAD)
                x, _ = layer(x, None, Formats())

    def init_state(self, batch: int) -> RecursiveState:
        zeros = self.projection.bias.new_zeros(batch, len(self.trace_param), dtype=torch.float32)
        silence = zeros.new_zeros(2 * (self.timing.update_period - 1), batch, 2)
        return RecursiveState(zeros, 0, self.net.init_state(batch), silence[:0], silence)

    def forward(
        self, spikes: Tensor, state: RecursiveState | None = None
    ) -> tuple[Tensor, RecursiveState]:
        state = self.init_state(spikes.shape[1]) if state is None else state
        spikes = self.channel_dropout(spikes)
        x, traces = self._traces(spikes.to(state.traces.dtype), state)
        neurons, keypoint, ready = state.neurons, state.keypoint, state.ready
        if len(x):
            x = F.dropout(x, self.dropout, self.training)
            x, neurons = self.net(x, neurons, self.formats)
            x = precise(self.readout(F.dropout(x, self.unit_dropout, self.training)))
            before = keypoint[0] if len(keypoint) else torch.zeros_like(x[0])
            decay = self.constant(self.readout_decay)
            x, _ = scan_integrator((1 - decay) * x, decay, before)
            keypoints = torch.cat([keypoint, x])
            # The velocity at an earlier keypoint has been emitted already.
            velocity = interpolate(keypoints, self.timing.update_period)[len(keypoint) :]
            keypoint, ready = keypoints[-1:], torch.cat([ready, velocity])
        due, phase = len(spikes), (state.phase + len(spikes)) % self.timing.update_period
        return ready[:due], RecursiveState(traces, phase, neurons, keypoint, ready[due:])

    def _traces(self, spikes: Tensor, state: RecursiveState) -> tuple[Tensor, Tensor]:
        """Those at keypoints, (n, B, taus x features), and the last ones."""
        currents = precise(self.projection(spikes)).repeat(1, 1, len(self.taus_ms))
        fixed_point = bits_of(self.buffer_format)
        found, last = scan_integrator(
            currents, self._decay(), state.traces, fixed_point=fixed_point
        )
        period = self.timing.update_period
        found = found[period - 1 - state.phase :: period]
        return found if self.gain is None else found * self.gain, last

    def _decay(self) -> Tensor:
        return self.constant(decays(self.taus_ms, self.trace_param.float()))

    def standardised_streamer(self, state: RecursiveState | None = None) -> streams.Stream:
        state = self.init_state(1) if state is None else state
        period, phase, taus = self.timing.update_period, state.phase, len(self.taus_ms)
        gain = 1 if self.gain is None else values(self.gain)
        integrate = streams.chain(
            streams.Receiver(self.projection.weight, self.projection.bias),
            lambda currents: np.tile(currents, taus),
            IntegratorStream(self._decay(), state.traces, fixed_point=bits_of(self.buffer_format)),
        )
        net = self.net.streamer(state.neurons, self.formats)
        decay = self.constant(self.readout_decay)
        keypoints = streams.Keypoints(self.readout, period, state.keypoint, state.ready, decay)

        def step(spikes: np.ndarray) -> np.ndarray:
            nonlocal phase
            traces, phase = integrate(spikes), (phase + 1) % period
            if phase == 0:
                keypoints.add(net(traces * gain))
            return keypoints.ready.popleft()

        return step

    def fold(self) -> None:
        with torch.no_grad():
            self.net[0].input.weight.mul_(self.gain)
        self.gain = None
        super().fold()

    def buffer_sizes(self) -> list[BufferSize]:
        layers = [BufferSize(layer.name, layer.units, "state") for layer in self.net]
        traces = BufferSize("traces", len(self.trace_param), "state")
        return [traces, *layers, BufferSize("readout", 2, "state")]
