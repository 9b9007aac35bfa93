"""Layers whose parameters may be stored in another format than they compute in.

Parameters in float16 halve a footprint; the values they stand for are then multiplied in the
format of the inputs (float32), as processors without float16 arithmetic do. NeuroBench's
operation counts stay exact too: in float16 they would overflow.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class Linear(nn.Linear):
    """``nn.Linear`` computing in the format of its input."""

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return functional.linear(x, self.weight.to(x.dtype), bias)


class Conv1d(nn.Conv1d):
    """``nn.Conv1d`` computing in the format of its input."""

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return self._conv_forward(x, self.weight.to(x.dtype), bias)
