"""AEGRU: variational encoder and GRU on binned counts (Wang et al. 2024)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from spikereach.models.counts import Counting, CountState
from spikereach.ops.common.precision import precise, without_autocast
from spikereach.ops.common.record import active


class AEGRU(Counting):
    r"""GRU over the codes of the last five sums of 20 steps, run anew for each step.

    The code of a sum ``n`` is :math:`m = W \log(\mathrm{softplus}(n)) + b`, batch-normalised.
    From :math:`h = 0`, the oldest code first, :math:`h \leftarrow \mathrm{LayerNorm}(
    \mathrm{GRU}(m, h))`; dropout and a linear read-out of the last state give the velocity. The
    window of sums grows from one row of zeros, so that in the first steps of a recording there
    are fewer than five, the newest of them incomplete.

    In training the code is bounded by 10 and sampled, :math:`z = \bar m + e^{\lambda / 2}
    \epsilon`, with the log-variance :math:`\lambda` from a second encoder with ReLU units, and a
    decoder predicts the sums' rates :math:`e^{D z}`. ``losses`` of a record then hold, weighted,
    the Poisson negative log-likelihood of the sums (``reconstruction``, with Stirling's term) and
    the Kullback-Leibler divergence of the code from N(0, 1) (``kl``), both means over all values.
    The second encoder and the decoder vanish with :meth:`fold`.

    Args:
        channels: input channels C.
        bins: sums per prediction.
        width: steps per sum.
        latent: size of the code and of the GRU.
        variance_units: ReLU units of the log-variance's encoder.
        dropout: probability of dropping a GRU output in training.
        jitter: probability of a sum to be replaced, in training, by a Poisson draw of that mean.
        reconstruction_weight: of the reconstruction.
        kl_weight: of the divergence.
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
        jitter: float = 0.5,
        reconstruction_weight: float = 1.0,
        kl_weight: float = 0.0,
    ):
        super().__init__(channels, bins * width, bins)
        self.latent, self.jitter = latent, jitter
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

    def forward(self, spikes: Tensor, state: CountState | None = None) -> tuple[Tensor, CountState]:
        steps, batch, _ = spikes.shape
        seen = 0 if state is None else state.seen
        sums, state = self.counts(spikes.to(self.encoder.weight.dtype), state)
        # A sum begins with every `width`-th row, of which there are two after the first step.
        begun = [max(k * self.counts.width - 1 - seen, 0) for k in range(self.counts.bins)]
        begun = [step for step in begun if step < steps]
        present = torch.cat([sums[step:, k].flatten(0, 1) for k, step in enumerate(begun)])
        codes = self._encode(present).split([(steps - step) * batch for step in begun])
        hidden = codes[0].new_zeros(steps * batch, self.latent)
        for step, code in zip(begun, codes, strict=True):
            before, after = hidden.split([step * batch, len(code)])
            hidden = torch.cat([before, self._recur(code, after)])
        velocity = self.readout(self.dropout(hidden)).unflatten(0, (steps, batch))
        return velocity.to(spikes.dtype), state

    def training_pairs(self, spikes: Tensor, velocity: Tensor) -> tuple[Tensor, Tensor]:
        """A prediction after each sum of a window, and the velocity where that sum ends.

        Args:
            spikes: (bins * width, B, C).
            velocity: (bins * width, B, 2).
        Returns:
            (bins, B, 2) each.
        Raises:
            ValueError: windows of another length.
        """
        bins, width = self.counts.bins, self.counts.width
        if len(spikes) != bins * width:
            raise ValueError(
                f"a training window of {len(spikes)} steps, but AEGRU reads {bins} sums of {width} "
                f"steps: set `window: {bins * width}` in its stage"
            )
        sums = spikes.float().unflatten(0, (bins, width)).sum(dim=1)
        if self.training:
            replaced = torch.rand_like(sums) < self.jitter
            sums = torch.where(replaced, torch.poisson(sums), sums)
        codes = self._encode(sums.flatten(0, 1)).unflatten(0, (bins, -1))
        hidden, states = torch.zeros_like(codes[0]), []
        for code in codes:
            hidden = self._recur(code, hidden)
            states.append(hidden)
        return self.readout(self.dropout(torch.stack(states))), velocity[width - 1 :: width]

    def _recur(self, code: Tensor, hidden: Tensor) -> Tensor:
        with without_autocast(code):
            return self.layer_norm(self.cell(code, hidden))

    def _encode(self, sums: Tensor) -> Tensor:
        """Codes (n, latent) of sums (n, C), sampled in training."""
        inputs = functional.softplus(sums).log()
        code = self.norm(precise(self.encoder(inputs)))
        if not self.training or self.log_variance is None:
            return code
        code = code.clamp(-10, 10)
        log_variance = precise(self.log_variance(inputs))
        sample = code + torch.randn_like(code) * (log_variance / 2).exp()
        if (record := active()) is not None:
            rates = precise(self.decoder(sample)).exp()
            likelihood = functional.poisson_nll_loss(rates, sums, log_input=False, full=True)
            divergence = (code**2 + log_variance.exp() - 1 - log_variance).mean() / 2
            record.losses["reconstruction"] = self.reconstruction_weight * likelihood
            record.losses["kl"] = self.kl_weight * divergence
        return sample
