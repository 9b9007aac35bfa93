"""NeuroBench's SNN2 (Yik et al. 2025): one layer of LIF neurons and a leaky read-out."""

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from spikereach.models import stages, streams
from spikereach.models.decoder import BufferSize, Decoder
from spikereach.models.leaky import Leaky
from spikereach.ops.common.fixed_point import bits_of
from spikereach.ops.common.record import note_spikes
from spikereach.ops.common.spikes import Spikes
from spikereach.ops.common.surrogates import fast_sigmoid
from spikereach.ops.integrator import scan_integrator
from spikereach.ops.integrator.stream import IntegratorStream
from spikereach.ops.lif import scan_lif
from spikereach.ops.lif.step import LIFParameters, LIFState, Reset
from spikereach.ops.lif.stream import LIFStream


class SNN2State(NamedTuple):
    hidden: LIFState
    output: Tensor


class SNN2(Decoder):
    """Linear -> dropout -> LIF -> linear -> leaky integrator, whose membrane is the velocity.

    In fixed point decays are on the weights' grid, membranes on the buffers'.

    Args:
        channels: input channels.
        hidden: LIF units.
        beta: decay of all membranes per step.
        dropout: probability, of the input currents.
        reset: ``zero_and_input`` is the rule under which the published weights were trained
            (snnTorch 0.7.0), ``zero`` that of later versions.
        slope: of the surrogate gradient.
    """

    def __init__(
        self,
        *,
        channels: int,
        hidden: int = 50,
        beta: float = 0.96,
        dropout: float = 0.3,
        reset: Reset = "zero_and_input",
        slope: float = 20.0,
    ):
        super().__init__(channels=channels)
        self.fc1 = nn.Linear(channels, hidden, bias=False)
        self.fc_out = nn.Linear(hidden, 2, bias=False)
        self.lif1 = Leaky(beta=beta, threshold=1, reset=reset)
        self.lif_out = Leaky(beta=beta, threshold=1, reset="none")
        self.spikes = Spikes()
        self.dropout = dropout
        self.surrogate = fast_sigmoid(slope)

    def init_state(self, batch: int) -> SNN2State:
        rest = self.fc1.weight.new_zeros(batch, self.fc1.out_features)
        return SNN2State(LIFState(rest, rest), rest.new_zeros(batch, 2))

    def forward(self, spikes: Tensor, state: SNN2State | None = None) -> tuple[Tensor, SNN2State]:
        state = self.init_state(spikes.shape[1]) if state is None else state
        x = spikes.to(self.fc1.weight.dtype)
        currents = F.dropout(self.fc1(x), self.dropout, self.training)
        fixed_point = bits_of(self.buffer_format)
        z, hidden = scan_lif(
            currents,
            None,
            self._neuron(self.lif1),
            state.hidden,
            surrogate=self.surrogate,
            reset=self.lif1.reset,
            fixed_point=fixed_point,
        )
        z = self.spikes(z)
        note_spikes("hidden", z)
        decay = self._neuron(self.lif_out).decay
        velocity, output = scan_integrator(
            self.fc_out(z), decay, state.output, fixed_point=fixed_point
        )
        # The read-out's own spikes go nowhere, but the original computes and counts them.
        self.spikes((velocity > self.lif_out.threshold).to(z.dtype))
        return velocity.to(spikes.dtype), SNN2State(hidden, output)

    def standardised_streamer(self, state: SNN2State | None = None) -> streams.Stream:
        state = self.init_state(1) if state is None else state
        hidden, decay = self._neuron(self.lif1), float(self._neuron(self.lif_out).decay)
        rules = {"fixed_point": bits_of(self.buffer_format)}
        return streams.chain(
            LIFStream(self.fc1.weight, None, hidden, state.hidden, reset=self.lif1.reset, **rules),
            streams.Receiver(self.fc_out.weight),
            IntegratorStream(decay, state.output, **rules),
        )

    def stages(self) -> list[stages.Stage]:
        membranes = bits_of(self.buffer_format) or "float32"
        return [
            stages.LIF(
                "lif1",
                stages.linear("fc1", self.fc1),
                None,
                float(self._neuron(self.lif1).decay),
                float(self._neuron(self.lif1).threshold),
                self.lif1.reset,
                membranes,
            ),
            stages.linear("fc_out", self.fc_out),
            stages.Integrator("lif_out", float(self._neuron(self.lif_out).decay), membranes),
        ]

    def _neuron(self, leaky: Leaky) -> LIFParameters:
        decay, threshold = leaky.neuron
        return LIFParameters(self.constant(decay), self.constant(threshold))

    def buffer_sizes(self) -> list[BufferSize]:
        return [
            BufferSize("hidden", self.fc1.out_features, "state"),
            BufferSize("output", 2, "state"),
        ]
