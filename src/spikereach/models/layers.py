"""Layers whose parameters may be stored in another format than they compute in.

Parameters in float16 halve a footprint; the values they stand for are then multiplied in the
format of the inputs (float32), as processors without float16 arithmetic do. NeuroBench's
operation counts stay exact too: in float16 they would overflow.
"""

from torch import Tensor, nn
from torch.nn import functional


class Linear(nn.Linear):
    """``nn.Linear`` computing in the format of its input."""

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return functional.linear(x, self.weight.to(x.dtype), bias)


class Conv1d(nn.Conv1d):
    """``nn.Conv1d`` computing in the format of its input, and in its order of memory.

    Inputs whose channels lie side by side, step after step, PyTorch copies before it convolves
    them. Those of an image of one row it takes as they are, and in half the time.

    Args:
        inputs: channels of ``x`` (B, inputs, T).
        outputs: channels of the result.
        kernel: length.
        padding: zeros on either side.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, padding: int = 0):
        super().__init__(inputs, outputs, kernel, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        if x.device.type != "cpu" or x.stride(1) != 1:
            return self._conv_forward(x, weight, bias)
        padding = 0, *self.padding
        return functional.conv2d(x[:, :, None], weight[:, :, None], bias, padding=padding)[:, :, 0]
