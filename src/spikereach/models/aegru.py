"""AEGRU: variational encoder and GRU on binned counts (Wang et al. 2024)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from spikereach.models.decoder import BufferSize, Decoder, Timing
from spikereach.ops.common.backends import may_compile
from spikereach.ops.common.record import active, note_call, noted


class AEGRUState(NamedTuple):
    """Spikes that later counts need, and the latest codes."""

    spikes: Tensor
    """(n, B, C): all ``bins * width - 1`` silent steps before a recording, then ``width - 1``"""
    codes: Tensor
    """(n, B, latent): none before a recording, then ``(bins - 1) * width``"""


class AEGRU(Decoder):
    r"""GRU over the codes of the last five counts of 20 steps.

    Per count ``n``: :math:`m = W \log(\mathrm{softplus}(n)) + b`, batch-normalised, is the code.
    A GRU cell runs from zero over the ``bins`` codes of the last ``bins * width`` steps; layer
    norm, dropout and a linear read-out give the velocity. The code of a count does not
    depend on the step at which it is used, so each is computed once.

    In training the code is bounded by 10 and sampled, :math:`z = \bar m + e^{\lambda / 2}
    \epsilon`, with the log-variance :math:`\lambda` from a second encoder with ReLU units, and a
    decoder predicts the counts' rates :math:`e^{D z}`. ``losses`` of a record then hold, weighted,
    the Poisson negative log-likelihood of the counts (``reconstruction``) and the Kullback-Leibler
    divergence of the code from N(0, 1) (``kl``). The second encoder and the decoder vanish with
    :meth:`fold`.

    Args:
        channels: input channels C.
        bins: counts per prediction.
        width: steps per count.
        latent: size of the code and of the GRU.
        variance_units: ReLU units of the log-variance's encoder.
        dropout: probability of dropping a GRU output in training.
        reconstruction_weight: of the reconstruction, relative to the velocity loss. The paper's
            weights 1, 0 and 10 of reconstruction, divergence and velocity are 0.1, 0 and 1.
        kl_weight: of the divergence, relative to the velocity loss.
    """

    def __init__(
        self,
        *,
        channels: int,
        bins: int = 5,
        width: int = 20,
        latent: int = 32,
        variance_units: int = 128,
        dropout: float = 0.5,
        reconstruction_weight: float = 0.1,
        kl_weight: float = 0.0,
    ):
        super().__init__(channels=channels, timing=Timing(receptive_field=bins * width))
        self.bins, self.width, self.latent = bins, width, latent
        self.reconstruction_weight, self.kl_weight = reconstruction_weight, kl_weight
        self.encoder = nn.Linear(channels, latent)
        self.norm = nn.BatchNorm1d(latent)
        self.cell = nn.GRUCell(latent, latent)
        self.layer_norm = nn.LayerNorm(latent)
        self.dropout = nn.Dropout(dropout)
        self.readout = nn.Linear(latent, 2)
        self.log_variance: nn.Module | None = nn.Sequential(
            nn.Linear(channels, variance_units), nn.ReLU(), nn.Linear(variance_units, latent)
        )
        self.decoder: nn.Module | None = nn.Linear(latent, channels)

    def fold(self) -> None:
        """Remove what only training needs; afterwards codes are no longer sampled.

        The batch norm stays, as in the published network.
        """
        self.log_variance = self.decoder = None
        super().fold()

    def forward(self, spikes: Tensor, state: AEGRUState | None = None) -> tuple[Tensor, AEGRUState]:
        steps, batch, width = len(spikes), spikes.shape[1], self.width
        if state is None:
            zeros = self.encoder.weight.new_zeros
            silence = zeros(self.bins * width - 1, batch, self.channels)
            state = AEGRUState(silence, zeros(0, batch, self.latent))
        recording = torch.cat([state.spikes, spikes.to(self.encoder.weight.dtype)])
        total = functional.pad(recording.cumsum(0, dtype=torch.float32), (0, 0, 0, 0, 1, 0))
        counts = (total[width:] - total[:-width]).to(recording.dtype)
        codes = torch.cat([state.codes, self.buffer(self._encode(counts))])

        inputs, states = [], [codes.new_zeros(steps * batch, self.latent)]
        hooked = not (may_compile(codes) and noted(self.cell))
        step = self.cell if hooked else self.cell.forward  # counted faster in one piece
        for start in range(0, self.bins * width, width):
            inputs.append(codes[start : start + steps].flatten(0, 1))
            states.append(self.buffer(step(inputs[-1], states[-1])))
        if not hooked:
            note_call(self.cell, torch.stack(inputs), torch.stack(states[:-1]))
        features = self.dropout(self.layer_norm(states[-1]))
        velocity = self.readout(features).unflatten(0, (steps, batch))
        keep = len(recording) - (width - 1)
        state = AEGRUState(recording[keep:], codes[len(codes) - (self.bins - 1) * width :])
        return velocity.to(spikes.dtype), state

    def _encode(self, counts: Tensor) -> Tensor:
        """Codes (n, B, latent) of counts (n, B, C), sampled in training."""
        inputs = functional.softplus(counts).log()
        code = self.norm(self.encoder(inputs).flatten(0, 1)).unflatten(0, counts.shape[:2])
        if not self.training or self.log_variance is None:
            return code
        code = code.clamp(-10, 10)
        log_variance = self.log_variance(inputs)
        sample = code + torch.randn_like(code) * (log_variance / 2).exp()
        if (record := active()) is not None:
            likelihood = functional.poisson_nll_loss(self.decoder(sample), counts, log_input=True)
            divergence = (code**2 + log_variance.exp() - 1 - log_variance).mean() / 2
            record.losses["reconstruction"] = self.reconstruction_weight * likelihood
            record.losses["kl"] = self.kl_weight * divergence
        return sample

    def buffer_sizes(self) -> list[BufferSize]:
        return [
            BufferSize("spikes", self.channels * self.width, "input"),
            BufferSize("codes", self.latent * ((self.bins - 1) * self.width + 1), "buffer"),
            BufferSize("gru", self.latent, "state"),
        ]
