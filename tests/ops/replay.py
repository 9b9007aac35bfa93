"""A float64 reference that follows the spikes of a backend, and judges each of them.

Backends add up in other orders, so that a membrane within rounding of the threshold may spike in
one and not in the other, after which both go their own ways. Here the reference in float64 is given
the backend's spikes in the place of its own. A spike that it would not have is allowed only within
rounding of the threshold, and counted; all that follows from the spikes can be compared closely.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from spikereach.ops.common.fixed_point import quantise
from spikereach.ops.common.surrogates import Surrogate
from spikereach.ops.current_lif import step as current_step
from spikereach.ops.lif import step as lif_step

ROUNDING = 3e-6
"""What float32 may be off, as a share of one plus the largest membrane."""


class _Given(torch.autograd.Function):
    """Given spikes, with the gradient of spikes at a distance from the threshold."""

    @staticmethod
    def forward(ctx, distance: Tensor, surrogate: Surrogate, spikes: Tensor) -> Tensor:
        ctx.surrogate = surrogate
        ctx.save_for_backward(distance)
        return spikes

    @staticmethod
    def backward(ctx, gradient: Tensor):
        (distance,) = ctx.saved_tensors
        return gradient * ctx.surrogate.derivative(distance), None, None


class Judge:
    """Hands out the spikes of a backend in the order in which neurons ask for them.

    Args:
        spikes: (T, B, N).
        parts: units that ask at a time, one after the other in each step.
    """

    def __init__(self, spikes: Tensor, parts: tuple[int, ...]):
        self.pieces = [part for step in spikes.double() for part in step.split(parts, dim=-1)]
        self.asked = 0
        self.flips = 0
        """Spikes that the reference would not have, or would have besides."""
        # Neurons whose membrane rounding to fixed point may have put on either side, of each part.
        self.doubtful = [torch.zeros_like(part).bool() for part in self.pieces[: len(parts)]]

    @property
    def doubts(self) -> Tensor:
        """(B, N): neurons that may have gone another way, by rounding to fixed point."""
        return torch.cat(self.doubtful, dim=-1)

    def spike(self, distance: Tensor, surrogate: Surrogate) -> Tensor:
        """In the place of `surrogates.spike`."""
        given, doubtful = self.pieces[self.asked], self.doubtful[self.asked % len(self.doubtful)]
        self.asked += 1
        flipped = ((distance > 0) != given.bool()) & ~doubtful
        off, near = distance[flipped].abs(), ROUNDING * (1 + distance.detach().abs().max())
        assert not len(off) or off.max() <= near, f"{off.max():g} from the threshold"
        self.flips += int(flipped.sum())
        return _Given.apply(distance, surrogate, given.to(distance.dtype))

    def quantise(self, values: Tensor, integer_bits: int, fractional_bits: int) -> Tensor:
        """In the place of `fixed_point.quantise`; doubts values in the middle between two."""
        scaled, near = values.detach() * 2.0**fractional_bits, ROUNDING * 2.0**fractional_bits
        middle = (scaled - scaled.floor() - 0.5).abs() <= near * (1 + values.detach().abs())
        self.doubtful[self.asked % len(self.doubtful)] |= middle
        return quantise(values, integer_bits, fractional_bits)


@contextmanager
def judged(spikes: Tensor, parts: tuple[int, ...]) -> Iterator[Judge]:
    """The neurons' equations take these spikes within."""
    judge = Judge(spikes, parts)
    with pytest.MonkeyPatch.context() as patch:
        for module in (lif_step, current_step):
            patch.setattr(module, "spike", judge.spike)
        patch.setattr(lif_step, "quantise", judge.quantise)
        yield judge
    assert judge.asked == len(judge.pieces), "every spike has been judged"
