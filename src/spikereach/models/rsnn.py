"""tinyRSNN and bigRSNN (Liu et al. 2024): one recurrent layer of current-based LIF neurons."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spikereach.models import stages, streams
from spikereach.models.decoder import STEP_S, BufferSize, Decoder
from spikereach.ops.common.dropout import draw_dropout
from spikereach.ops.common.fixed_point import bits_of, quantise
from spikereach.ops.common.record import note_spikes
from spikereach.ops.common.spikes import Spikes
from spikereach.ops.common.surrogates import fast_sigmoid
from spikereach.ops.current_lif import scan_current_lif
from spikereach.ops.current_lif.step import CurrentLayers, CurrentParameters, CurrentState
from spikereach.ops.current_lif.stream import CurrentLIFStream
from spikereach.ops.integrator import scan_current_integrator
from spikereach.ops.integrator.stream import CurrentIntegratorStream

STEP_MS = STEP_S * 1000
READOUT_START = -0.01
RATE_HZ = 20.0  # the authors' value where they do not compute the data's rate
SIGMA_U, ALPHA = 0.5, 0.9  # of the fluctuation-driven initialisation


class RSNNState(NamedTuple):
    hidden: CurrentState
    readout: CurrentState


def decays(taus_ms: Sequence[float], parameter: Tensor) -> Tensor:
    """Decay per step for the time constants ``tau * softplus(p)``, each of as many units."""
    # One by one: a tensor of the time constants would be copied to the device at every call.
    parts = zip(taus_ms, parameter.tensor_split(len(taus_ms)), strict=True)
    return torch.cat([torch.exp(-STEP_MS / (tau * F.softplus(part))) for tau, part in parts])


def kernel_energy(tau_mem_ms: float, tau_syn_ms: float) -> float:
    """Integral over time (in s) of the squared membrane response to a spike of weight one.

    Rossbroich et al. 2022, epsilon-hat, summed over the neuron's own discrete steps for ten
    times the longer time constant, as the authors' library does.
    """
    mem, syn = math.exp(-STEP_MS / tau_mem_ms), math.exp(-STEP_MS / tau_syn_ms)
    v, i, energy = 0.0, 1.0, 0.0
    for _ in range(int(10 * max(tau_mem_ms, tau_syn_ms) / STEP_MS)):
        energy += v**2
        v, i = mem * v + (1 - mem) * i, syn * i
    return energy * STEP_S


class RSNN(Decoder):
    """Linear -> recurrent current-based LIF -> one or more leaky read-outs, averaged.

    No layer has a bias. Membrane and synaptic time constants are learned per unit:
    ``tau = tau0 * softplus(p)``. Inputs and hidden spikes reach the next layer one step later
    (:mod:`spikereach.ops.current_lif.step`). Read-outs start at -0.01. In fixed point decays
    per step are on the weights' grid, membranes and synaptic currents on the buffers'.

    Args:
        channels: input channels.
        hidden: recurrent units.
        readouts: initial membrane and synaptic time constants in ms of each read-out.
        tau_mem_ms: initial membrane time constant of the hidden units.
        tau_syn_ms: initial synaptic time constant of the hidden units.
        dropout: probability, of inputs and of hidden spikes on their way.
        slope: of the SuperSpike surrogate gradient.
    """

    takes_bytes = True
    unstored = frozenset({"mem_param", "syn_param", "readout_mem_param", "readout_syn_param"})

    def __init__(
        self,
        *,
        channels: int,
        hidden: int = 64,
        readouts: Sequence[tuple[float, float]] = ((50.0, 10.0),),
        tau_mem_ms: float = 20.0,
        tau_syn_ms: float = 10.0,
        dropout: float = 0.3,
        slope: float = 20.0,
    ):
        super().__init__(channels=channels)
        outputs = 2 * len(readouts)
        self.input = nn.Linear(channels, hidden, bias=False)
        self.recurrent = nn.Linear(hidden, hidden, bias=False)
        self.readout = nn.Linear(hidden, outputs, bias=False)  # two rows per read-out
        self.mem_param = nn.Parameter(torch.empty(hidden))
        self.syn_param = nn.Parameter(torch.empty(hidden))
        self.readout_mem_param = nn.Parameter(torch.empty(outputs))
        self.readout_syn_param = nn.Parameter(torch.empty(outputs))
        self.spikes = Spikes()
        self.readouts = tuple((float(mem), float(syn)) for mem, syn in readouts)
        self.tau_mem_ms = tau_mem_ms
        self.tau_syn_ms = tau_syn_ms
        self.dropout = dropout
        self.surrogate = fast_sigmoid(slope)
        rates_hz = torch.full((channels,), RATE_HZ, dtype=torch.float64, device="cpu")
        self.initialise(rates_hz, torch.default_generator)

    def initialise(self, rates_hz: Tensor, generator: torch.Generator) -> None:
        """Fluctuation-driven weights (Rossbroich et al. 2022), time constants p ~ U(0, 1).

        Membranes fluctuate with standard deviation 0.5 around zero when all inputs fire at the
        rate of the first one; 90 % of that variance come from the input, the rest from the
        recurrence. Input weights of a channel whose area fires at another rate are divided by
        the ratio. Read-out weights are N(0, 1) / sqrt(units), read-outs' time constants p = 1.
        """
        if not (rates_hz > 0).all():
            raise ValueError("an area has no spikes: no initial weights for silence")
        rate_hz = float(rates_hz[0])
        energy = rate_hz * kernel_energy(self.tau_mem_ms, self.tau_syn_ms)
        inputs, units = self.input.in_features, self.recurrent.in_features
        deviations = {
            self.input: SIGMA_U * math.sqrt(ALPHA / (inputs * energy)),
            self.recurrent: SIGMA_U * math.sqrt((1 - ALPHA) / (units * energy)),
            self.readout: 1 / math.sqrt(units),
        }
        with torch.no_grad():
            for layer, deviation in deviations.items():
                drawn = torch.randn(layer.weight.shape, generator=generator)
                layer.weight.copy_(drawn * deviation)
            self.input.weight.div_((rates_hz / rate_hz).to(self.input.weight))
            for parameter in (self.mem_param, self.syn_param):
                parameter.copy_(torch.rand(parameter.shape, generator=generator))
            for parameter in (self.readout_mem_param, self.readout_syn_param):
                parameter.fill_(1.0)

    def _hidden_decays(self) -> CurrentParameters:
        taus = [self.tau_mem_ms], [self.tau_syn_ms]
        return self._decays(taus, (self.mem_param, self.syn_param))

    def _readout_decays(self) -> CurrentParameters:
        taus = zip(*self.readouts, strict=True)
        return self._decays(taus, (self.readout_mem_param, self.readout_syn_param))

    def _decays(
        self, taus_ms: Iterable[Sequence[float]], parameters: Iterable[Tensor]
    ) -> CurrentParameters:
        found = map(decays, taus_ms, parameters)
        return CurrentParameters(*map(self.constant, found))

    def init_state(self, batch: int) -> RSNNState:
        zeros = self.input.weight.new_zeros(batch, self.input.out_features)
        out = self.readout.weight.new_zeros(batch, self.readout.out_features)
        start, fixed_point = out + READOUT_START, bits_of(self.buffer_format)
        if fixed_point is not None:
            start = quantise(start, *fixed_point)
        return RSNNState(CurrentState(zeros, zeros, zeros), CurrentState(start, out, out))

    def forward(self, spikes: Tensor, state: RSNNState | None = None) -> tuple[Tensor, RSNNState]:
        state = self.init_state(spikes.shape[1]) if state is None else state
        fixed_point, dropout = bits_of(self.buffer_format), (None, None)
        if self.training and self.dropout:
            sent = (*spikes.shape[:2], self.recurrent.in_features)
            dropout = [draw_dropout(s, self.dropout, spikes.device) for s in (spikes.shape, sent)]
        z, currents, hidden = scan_current_lif(
            spikes,
            self._layers(),
            self._hidden_decays(),
            state.hidden,
            surrogate=self.surrogate,
            dropout=dropout,
            fixed_point=fixed_point,
        )
        note_spikes("hidden", self.spikes(z))
        membranes, readout = scan_current_integrator(
            currents, self._readout_decays(), state.readout, fixed_point=fixed_point
        )
        velocity = membranes.unflatten(-1, (-1, 2)).mean(-2)
        velocity = velocity.to(torch.promote_types(spikes.dtype, torch.float32))
        return velocity, RSNNState(hidden, readout)

    def standardised_streamer(self, state: RSNNState | None = None) -> streams.Stream:
        state = self.init_state(1) if state is None else state
        rules = {"fixed_point": bits_of(self.buffer_format)}
        return streams.chain(
            CurrentLIFStream(self._layers(), self._hidden_decays(), state.hidden, **rules),
            CurrentIntegratorStream(self._readout_decays(), state.readout, **rules),
            lambda membranes: membranes.reshape(-1, 2).mean(0),
        )

    def _layers(self) -> CurrentLayers:
        return CurrentLayers(self.input, self.recurrent, self.readout)

    def stages(self) -> list[stages.Stage]:
        layers = (stages.linear(name, getattr(self, name)) for name in CurrentLayers._fields[:2])
        hidden, readouts = (
            [each.detach() for each in decays]
            for decays in (self._hidden_decays(), self._readout_decays())
        )
        start = self.init_state(1).readout.v[0, 0].item()
        membranes = bits_of(self.buffer_format) or "float32"
        return [
            stages.CurrentLIF("hidden", *layers, *hidden, membranes),
            stages.linear("readout", self.readout),
            stages.CurrentIntegrator("readouts", *readouts, start, membranes),
            stages.Mean(len(self.readouts)),
        ]

    def buffer_sizes(self) -> list[BufferSize]:
        units, outputs = self.recurrent.in_features, self.readout.out_features
        return [
            BufferSize("hidden", 3 * units, "state"),
            BufferSize("readout", 3 * outputs, "state"),
        ]
