"""How much data a streaming convolutional decoder keeps (Krausse et al. 2025, buffer sizes).

Blocks of Conv1d (stride 1) and MaxPool(2, 2) compute one keypoint from the last few
frames of every layer. Working back from one keypoint gives, per layer,

(a) the receptive field: frames one keypoint depends on,
(b) the new frames per keypoint, twice as many for each pooling passed,
(c) the frames needed to compute the next layer's new frames: what streaming keeps.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class LayerBuffer:
    """Frames of one layer per keypoint; a frame has one value per channel of the layer."""

    layer: str
    """"input", or the layer whose output is meant: "conv1", "pool1", "conv2", ..."""
    receptive_field: int
    new: int
    needed: int


def layer_buffers(kernels: Sequence[int]) -> list[LayerBuffer]:
    """The table (a), (b), (c) from the input to the last pooling.

    Args:
        kernels: kernel length of each block's convolution, first block first.
    """
    last = len(kernels)
    rows = [LayerBuffer(f"pool{last}", receptive_field=1, new=1, needed=1)]
    for block, kernel in reversed(list(enumerate(kernels, start=1))):
        pooled = rows[-1]
        new = 2 * pooled.new
        conv = LayerBuffer(f"conv{block}", 2 * pooled.receptive_field, new, needed=new)
        source = "input" if block == 1 else f"pool{block - 1}"
        reach = kernel - 1
        rows += [conv, LayerBuffer(source, conv.receptive_field + reach, new, new + reach)]
    return rows[::-1]
