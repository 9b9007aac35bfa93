"""Classical baselines, fitted in closed form: Wiener filter and Kalman filter."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from spikereach.models import streams
from spikereach.models.decoder import BufferSize, Decoder, Timing
from spikereach.models.layers import Linear
from spikereach.ops.common import cpu
from spikereach.ops.common.compiling import compiled

FIT_STRIDE = 4
"""The Wiener filter is fitted on every fourth step: neighbouring rows share most counts."""

FOLDS = 5
"""Contiguous parts of the training data on which the ridge penalty is cross-validated."""

PENALTIES = tuple(10.0**exponent for exponent in range(-4, 3))
"""Candidate ridge penalties, as multiples of the mean variance of a count."""

CHUNK = 1024
"""Rows of lagged counts made at one time: bounds the memory of a long recording, and keeps near
the processor what is read again at once."""


class Wiener(Decoder):
    r"""Ridge regression on lagged spike counts.

    .. math:: v_t = b + \sum_{l=0}^{L-1} W_l \, n_{t,l}, \qquad
              n_{t,l} = \sum_{i=0}^{w-1} s_{t - l w - i}

    with ``L`` lags of ``w`` steps. :meth:`fit_closed_form` minimises
    ``mean |v - v_hat|^2 + penalty * mean variance of a count * |W|^2`` (bias free). The penalty
    is the one of :data:`PENALTIES` with the least error in cross-validation over
    :data:`FOLDS` contiguous folds; shuffled folds would leak, as neighbouring steps agree.

    Args:
        channels: input channels C.
        lags: number of counts per channel, L.
        width: steps per count, w.
    """

    def __init__(self, *, channels: int, lags: int, width: int):
        if lags < 1 or width < 1:
            raise ValueError(f"lags and width must be positive, got {lags} and {width}")
        super().__init__(channels=channels, timing=Timing(receptive_field=lags * width))
        self.lags, self.width = lags, width
        self.reach = lags * width - 1
        self.linear = Linear(lags * channels, 2)

    def counts(self, spikes: Tensor) -> Tensor:
        """Lagged counts (T, B, L * C), newest lag first, of spikes (L * w - 1 + T, B, C)."""
        steps = len(spikes) - self.reach
        total = nn.functional.pad(spikes.cumsum(0), (0, 0, 0, 0, 1, 0))
        windows = total[self.width :] - total[: -self.width]
        starts = [self.width * lag for lag in reversed(range(self.lags))]
        return torch.cat([windows[start : start + steps] for start in starts], dim=2)

    def forward(self, spikes: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As every decoder's; the state (reach, B, C) are the latest spikes, at first zeros."""
        if state is None:
            shape = self.reach, *spikes.shape[1:]
            state = torch.zeros(shape, device=self.linear.weight.device)
        recording = torch.cat([state, spikes])
        starts = range(0, len(spikes), CHUNK)
        chunks = (self.counts(recording[first : first + CHUNK + self.reach]) for first in starts)
        return torch.cat([self.linear(counts) for counts in chunks]), recording[len(spikes) :]

    def standardised_streamer(self, state: Tensor | None = None) -> streams.Stream:
        weight = self.linear.weight.unflatten(1, (self.lags, self.channels)).transpose(0, 1)
        # What a spike adds to the velocities of its own step and of those after it.
        receive = streams.Receiver(weight.repeat_interleave(self.width, 0).flatten(0, 1))
        bias, coming = cpu.values(self.linear.bias), np.zeros((self.reach + 2, 2), np.float32)

        def step(spikes: np.ndarray) -> np.ndarray:
            coming[:-1] = coming[1:]
            coming[:-1] += receive(spikes).reshape(-1, 2)
            return coming[0] + bias

        for spikes in () if state is None else cpu.values(state[:, 0]):
            step(spikes)
        return step

    @torch.no_grad()
    def fit_closed_form(self, spikes: Tensor, velocity: Tensor, joints: Sequence[int] = ()) -> bool:
        """Fit on spikes (T, C) and velocity (T, 2) of the training part, without the rows whose
        counts reach across one of ``joints``.

        Raises:
            ValueError: fewer rows than folds need.
        """
        if len(spikes) <= self.reach + FOLDS * FIT_STRIDE:
            raise ValueError(
                f"{len(spikes)} steps are too few to fit a Wiener filter that looks back "
                f"{self.reach + 1} steps: use a longer recording or fewer lags"
            )
        bounds = torch.linspace(self.reach, len(spikes), FOLDS + 1).long().tolist()
        stretches = list(pairwise((0, *joints, len(spikes))))
        folds = []
        for start, stop in pairwise(bounds):
            rows = [(max(start, begin + self.reach), min(stop, end)) for begin, end in stretches]
            parts = [self._moments(spikes, velocity, *each) for each in rows if each[0] < each[1]]
            if not parts:
                raise ValueError(
                    f"stretches of the training part are too short to fit a Wiener filter that "
                    f"looks back {self.reach + 1} steps: use a longer recording or fewer lags"
                )
            folds.append(_Moments(*map(sum, zip(*parts, strict=True))))
        whole = _Moments(*map(sum, zip(*folds, strict=True)))
        errors = 0
        for fold in folds:
            solutions = _Moments(*map(torch.sub, whole, fold)).solve(PENALTIES)
            errors += torch.stack([fold.error(*solution) for solution in solutions])
        penalty = PENALTIES[int(errors.argmin())]
        [(weight, bias)] = whole.solve((penalty,))
        self.linear.weight.copy_(weight.T)
        self.linear.bias.copy_(bias)
        return True

    def _moments(self, spikes: Tensor, velocity: Tensor, start: int, stop: int) -> _Moments:
        """Sums over the rows of one fold; counts are small integers, so float32 sums are exact."""
        sums = None
        for first in range(start, stop, FIT_STRIDE * CHUNK):
            last = min(first + FIT_STRIDE * CHUNK, stop)
            counts = self.counts(spikes[first - self.reach : last, None].float())[::FIT_STRIDE, 0]
            target = velocity[first:last:FIT_STRIDE].double()
            part = _Moments(
                torch.tensor(float(len(counts)), dtype=torch.float64),
                counts.sum(0).double(),
                target.sum(0),
                (counts.T @ counts).double(),
                counts.T.double() @ target,
                (target**2).sum(),
            )
            sums = part if sums is None else _Moments(*map(torch.add, sums, part))
        return sums

    def buffer_sizes(self) -> list[BufferSize]:
        return [BufferSize("spikes", self.channels * self.lags * self.width, "input")]


class _Moments(NamedTuple):
    """Sums over rows of inputs x (F) and targets y (2), all that least squares needs."""

    rows: Tensor
    x: Tensor
    y: Tensor
    xx: Tensor
    xy: Tensor
    yy: Tensor

    def solve(self, penalties: tuple[float, ...]) -> Iterator[tuple[Tensor, Tensor]]:
        """Ridge solutions, weight (F, 2) and bias (2), for each penalty."""
        mean_x, mean_y = self.x / self.rows, self.y / self.rows
        covariance = self.xx / self.rows - mean_x[:, None] * mean_x
        cross = self.xy / self.rows - mean_x[:, None] * mean_y
        values, vectors = torch.linalg.eigh(covariance)
        scale = values.mean()
        if not scale > 0:
            raise ValueError("no spikes in the training part: there is nothing to fit")
        projected = vectors.T @ cross
        for penalty in penalties:
            weight = vectors @ (projected / (values.clamp(min=0) + penalty * scale)[:, None])
            yield weight, mean_y - mean_x @ weight

    def error(self, weight: Tensor, bias: Tensor) -> Tensor:
        """Sum of squared errors of a solution on these rows."""
        predicted = ((self.xx @ weight) * weight).sum() + 2 * bias @ (self.x @ weight)
        agreement = (self.xy * weight).sum() + bias @ self.y
        return predicted + self.rows * bias @ bias - 2 * agreement + self.yy


class KalmanState(NamedTuple):
    """Spikes since the last update, and the estimate after it (float64)."""

    begun: Tensor
    """(n, B, C): the count under way, n < width"""
    mean: np.ndarray
    """(B, 4): velocity and acceleration, less their training means"""
    covariance: np.ndarray
    """(4, 4), the same for all streams"""


class Kalman(Decoder):
    r"""Kalman filter over velocity and acceleration (Wu et al. 2006, equations 1 to 6).

    .. math:: x_k = A x_{k-1} + w_k, \quad w_k \sim N(0, W), \qquad
              z_k = H x_k + q_k, \quad q_k \sim N(0, Q)

    ``z`` are the counts of ``width`` steps, ``x`` the mean velocity over the ``width`` steps from
    the end of the count on, and its change since the last update (all less their training
    means). Counts thus lead movement by about ``width`` steps, and an estimate is held until
    the next one. The update is in information form, which needs the inverse of Q only once:

    .. math:: P = (\bar P^{-1} + H^T Q^{-1} H)^{-1}, \quad
              x = \bar x + P (H^T Q^{-1} z - H^T Q^{-1} H \bar x)

    ``H^T Q^{-1}`` is a linear layer, so that its operations are counted. The recursion over
    the four state variables runs in float64.

    Args:
        channels: input channels C.
        width: steps per count and between updates.
    """

    def __init__(self, *, channels: int, width: int):
        if width < 1:
            raise ValueError(f"width must be positive, got {width}")
        super().__init__(channels=channels, timing=Timing(update_period=width))
        self.width = width
        #: C -> 4: H^T Q^-1 (z - mean of z)
        self.observation = Linear(channels, 4)
        for parameter in self.observation.parameters():
            nn.init.zeros_(parameter)  # before the fit, counts say nothing
        self.register_buffer("transition", torch.eye(4))
        self.register_buffer("transition_noise", torch.eye(4))
        #: H^T Q^-1 H
        self.register_buffer("information", torch.zeros(4, 4))
        self.register_buffer("mean_velocity", torch.zeros(2))

    def init_state(self, batch: int) -> KalmanState:
        begun = torch.zeros(0, batch, self.channels, device=self.observation.weight.device)
        return KalmanState(begun, np.zeros((batch, 4)), _array(self.transition_noise))

    def forward(
        self, spikes: Tensor, state: KalmanState | None = None
    ) -> tuple[Tensor, KalmanState]:
        state = self.init_state(spikes.shape[1]) if state is None else state
        steps, width = len(spikes), self.width
        stream = torch.cat([state.begun, spikes])
        updates = len(stream) // width
        counts = stream[: updates * width].unflatten(0, (updates, width)).sum(1)
        evidence = self.observation(counts)

        mean, covariance = state.mean.copy(), state.covariance.copy()
        estimates = np.empty((updates + 1, *mean.shape))
        estimates[0] = mean
        _filter(_array(evidence), *self._model(), mean, covariance, estimates[1:])
        held = torch.from_numpy(estimates[:, :, :2]).to(spikes) + self.mean_velocity
        index = (len(state.begun) + 1 + torch.arange(steps, device=spikes.device)) // width
        return held[index], KalmanState(stream[updates * width :], mean, covariance)

    def _model(self) -> list[np.ndarray]:
        """Transition, its noise, and the information of a count."""
        return [_array(m) for m in (self.transition, self.transition_noise, self.information)]

    def standardised_streamer(self, state: KalmanState | None = None) -> streams.Stream:
        state = self.init_state(1) if state is None else state
        observe = streams.Receiver(self.observation.weight, self.observation.bias)
        model, offset = self._model(), cpu.values(self.mean_velocity)
        counts, phase = cpu.values(state.begun[:, 0].sum(0)), len(state.begun)
        mean, covariance = state.mean.copy(), state.covariance.copy()
        estimate = mean[None, :1].copy()
        velocity = mean[0, :2].astype(np.float32) + offset

        def step(spikes: np.ndarray) -> np.ndarray:
            nonlocal counts, phase, velocity
            counts += spikes
            phase += 1
            if phase == self.width:
                evidence = observe(counts).astype(np.float64)[None, None]
                _filter(evidence, *model, mean, covariance, estimate)
                velocity = mean[0, :2].astype(np.float32) + offset
                counts[:], phase = 0, 0
            return velocity

        return step

    @torch.no_grad()
    def fit_closed_form(self, spikes: Tensor, velocity: Tensor, joints: Sequence[int] = ()) -> bool:
        """Least-squares A, W, H, Q from spikes (T, C) and velocity (T, 2), in float64. Counts begin
        anew at each of ``joints``, and no transition leads across one.

        A thousandth of the mean count variance is added to Q's diagonal, so that silent
        channels leave it invertible.

        Raises:
            ValueError: fewer updates than channels and state variables.
        """
        width = self.width
        bounds = pairwise((0, *joints, len(spikes)))
        stretches = [(begin, end) for begin, end in bounds if end - begin >= 2 * width]
        updates = [(end - begin - width) // width for begin, end in stretches]
        if sum(updates) <= self.channels + 4:
            raise ValueError(
                f"{len(spikes)} steps are too few to fit a Kalman filter of {self.channels} "
                f"channels: it needs more than {(self.channels + 5) * width}"
            )

        def per_update(values: Tensor, lag: int) -> list[Tensor]:
            """(updates, width, ...) of each stretch."""
            return [
                values[begin + lag :][: count * width].double().unflatten(0, (count, width))
                for (begin, _), count in zip(stretches, updates, strict=True)
            ]

        counts = torch.cat([each.sum(1) for each in per_update(spikes, 0)])
        # The estimate of update k is held for the steps (k + 1) * width - 1 and following.
        targets = [each.mean(1) for each in per_update(velocity, width - 1)]
        change = torch.cat([each.diff(dim=0, prepend=each[:1]) for each in targets])
        target = torch.cat(targets)
        follows = torch.ones(len(target), dtype=torch.bool)
        follows[[0, *itertools.accumulate(updates[:-1])]] = False
        mean_counts, mean_velocity = counts.mean(0), target.mean(0)
        z = counts - mean_counts
        x = torch.cat([target - mean_velocity, change - change.mean(0)], dim=1)

        earlier, later = x[:-1][follows[1:]], x[follows]
        transition = torch.linalg.lstsq(earlier, later).solution.T
        residual = later - earlier @ transition.T
        observation = torch.linalg.lstsq(x, z).solution.T
        noise = z - x @ observation.T
        covariance = noise.T @ noise / len(noise)
        variance = z.var(0).mean()
        if not variance > 0:
            raise ValueError("no spikes in the training part: there is nothing to fit")
        covariance += 1e-3 * variance * torch.eye(self.channels, dtype=torch.float64)
        weight = torch.linalg.solve(covariance, observation).T

        self.transition.copy_(transition)
        self.transition_noise.copy_(residual.T @ residual / len(residual))
        self.information.copy_(weight @ observation)
        self.observation.weight.copy_(weight)
        self.observation.bias.copy_(-weight @ mean_counts)
        self.mean_velocity.copy_(mean_velocity)
        return True

    def buffer_sizes(self) -> list[BufferSize]:
        return [
            BufferSize("counts", self.channels, "buffer"),
            BufferSize("estimate", 4 + 16, "state"),
        ]


def _array(values: Tensor) -> np.ndarray:
    return values.detach().double().cpu().numpy()


@compiled
def _filter(evidence, transition, noise, information, mean, covariance, estimates):
    """Fill the estimates (updates, B, 4) from evidence of that shape; mean and covariance in
    place."""
    identity = np.eye(4)
    for update in range(len(evidence)):
        spread = transition @ covariance @ transition.T + noise
        spread = np.linalg.solve(identity + spread @ information, spread)
        covariance[:] = (spread + spread.T) / 2
        predicted = mean @ transition.T
        mean[:] = predicted + (evidence[update] - predicted @ information.T) @ covariance
        estimates[update] = mean
