"""NeuroBench's metrics, exactly, from one vectorised pass.

NeuroBench 2.3.0 (Yik et al. 2025) copies a layer for every recorded call. Here the same
figures come from layer inputs and weights: effective operations of a Linear or convolution
are pairs of a non-zero input and a non-zero weight that meet, counted without forming them.
`evaluation.neurobench` is the oracle.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from spikereach.evaluation import counting
from spikereach.evaluation.counting import FanOut
from spikereach.evaluation.errors import EvaluationError
from spikereach.models.decoder import Decoder
from spikereach.models.passes import as_input, in_pieces, usable_steps
from spikereach.ops.common.backends import only
from spikereach.ops.common.record import LayerCalls, Record, recording

PIECE = 8192
"""Steps per call of the decoder; bounds the memory of a pass."""

WINDOWS = 64
"""Windows per call of a decoder of whole windows, which run side by side."""

FEW = 16
"""Calls of a layer in a piece up to which they are those of stretches of it, not of steps."""

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_STATELESS = (nn.Linear, *_CONVOLUTIONS)


def r2_axes(pred: np.ndarray | Tensor, true: np.ndarray | Tensor) -> tuple[float, float]:
    """R2 of the x and of the y velocity, each (N, 2) against (N, 2).

    One minus residual over total sum of squares, in NeuroBench's own float32 operations.

    Raises:
        EvaluationError: shapes differ, values that are not finite, or constant velocities.
    """
    pred, true = torch.as_tensor(pred), torch.as_tensor(true)
    if pred.shape != true.shape or pred.ndim != 2 or pred.shape[1] != 2:
        raise EvaluationError(
            f"R2 needs two arrays (N, 2): got {tuple(pred.shape)} and {tuple(true.shape)}"
        )
    for name, values in {"predicted": pred, "true": true}.items():
        finite = torch.isfinite(values)
        if not finite.all():
            step = int(finite.logical_not().nonzero()[0, 0])
            raise EvaluationError(f"R2: the {name} velocity is not finite at step {step}")
    scores = []
    for axis in range(2):
        labels = true[:, axis].contiguous()
        residual = torch.sum((true[:, axis] - pred[:, axis]) ** 2).item()
        total = labels.var(correction=0) * len(labels)
        if total == 0:
            raise EvaluationError(f"R2: the true velocity of axis {'xy'[axis]} is constant")
        scores.append((1 - residual / total).item())
    return scores[0], scores[1]


def r2(pred: np.ndarray | Tensor, true: np.ndarray | Tensor) -> float:
    """NeuroBench's R2: the mean of both axes, (N, 2) against (N, 2); see :func:`r2_axes`."""
    x, y = (torch.tensor(score) for score in r2_axes(pred, true))
    return ((x + y) / 2).item()


def footprint(decoder: nn.Module) -> int:
    """Bytes of all parameters and registered buffers (NeuroBench's footprint)."""
    tensors = [*decoder.parameters(), *decoder.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def connection_sparsity(decoder: nn.Module) -> float:
    """Share of zero weights in all connection layers, rounded to 4 decimals as NeuroBench does.

    Biases count in recurrent cells and nowhere else.

    Raises:
        EvaluationError: the decoder has no connection layer.
    """
    weights = []
    for module in decoder.modules():
        if isinstance(module, _STATELESS):
            weights.append(module.weight)
        elif isinstance(module, nn.RNNCellBase):
            weights += module.parameters(recurse=False)
    count = sum(weight.numel() for weight in weights)
    if count == 0:
        raise EvaluationError("connection sparsity: the decoder has no connection layer")
    zeros = sum(torch.sum(weight == 0) for weight in weights)
    return round((zeros / count).item(), 4)


def measure(
    decoder: Decoder,
    spikes: np.ndarray | Tensor,
    velocity: np.ndarray | Tensor,
    *,
    like_neurobench: int | None = None,
) -> tuple[dict[str, float], np.ndarray]:
    """All metrics of a decoder on a continuous recording, and the predicted velocity.

    NeuroBench calls the operations of one layer call MACs, unless all inputs of the call
    are 0, 1 or -1: then ACs. A layer that runs over all steps in one call has one such
    verdict, in however many pieces the pass is made.

    Args:
        decoder: put into evaluation mode.
        spikes: (T, C).
        velocity: (T, 2), session units per step.
        like_neurobench: None for the fast path. Else recurrent layers are called step by
            step, in pieces of this many steps that are judged one by one, which is what
            `evaluation.neurobench.run` makes NeuroBench see.
    Returns:
        r2, footprint (bytes), connection_sparsity, activation_sparsity, and per 4 ms step dense,
        effective_macs and effective_acs; and the predicted velocity (T', 2) float32 in session
        units, where T' leaves out a window that is not whole.
    Raises:
        EvaluationError: too few steps, wrong shapes, or a layer NeuroBench has no rule for.
    """
    steps = usable_steps(decoder, len(spikes))
    inputs = as_input(decoder, spikes[:steps])
    window = decoder.timing.whole_windows
    piece = like_neurobench or max(PIECE, WINDOWS * window)
    piece -= piece % window
    tally = Tally(merge=like_neurobench is None, apart=decoder.timing.once_per_step)
    predicted = []
    decoder.eval()
    backend = nullcontext() if like_neurobench is None else only("reference")
    with torch.inference_mode(), backend, recording(decoder) as record:
        for part in in_pieces(decoder, inputs, piece):
            tally.add_piece(record)
            predicted.append(part[:, 0].float().cpu())
    prediction = torch.cat(predicted)
    macs, acs = tally.effective()
    metrics = {
        "r2": r2(prediction, velocity[:steps]),
        "footprint": footprint(decoder),
        "connection_sparsity": connection_sparsity(decoder),
        "activation_sparsity": tally.activation_sparsity(),
        "dense": tally.dense / steps,
        "effective_macs": macs / steps,
        "effective_acs": acs / steps,
    }
    return metrics, prediction.numpy()


@dataclass
class Tally:
    """Operations and activations counted so far, as integers."""

    merge: bool = False
    """Whether a layer with few calls per piece is judged over all pieces together."""
    apart: bool = False
    """Whether each sample of a call stands for a call of its own."""
    dense: int = 0
    activations: int = 0
    nonzero: int = 0
    _macs: int = 0
    _acs: int = 0
    _hoisted: dict[nn.Module, tuple[int, bool]] = field(default_factory=dict)
    _fan_outs: dict[tuple[nn.Module, torch.Size], FanOut] = field(default_factory=dict)

    def add_piece(self, record: Record) -> None:
        """Count what one call of a decoder did, and free what its layers received."""
        for calls in by_layer(record.calls):
            self.add(calls)
            del calls  # the next piece then finds warm memory
        for activation in record.activations:
            self.activations += activation.numel()
            self.nonzero += counting.nonzero(activation)
        record.activations.clear()
        record.spikes.clear()

    def add(self, calls: LayerCalls) -> None:
        """Count the calls of one layer."""
        if self.apart:
            inputs = (each.flatten(0, 1)[:, None] for each in calls.inputs)
            calls = LayerCalls(calls.layer, tuple(inputs))
        operations, binary, dense = count(calls, self._fan_outs)
        self.dense += dense
        total, spiking = int(operations.sum()), int(operations[binary].sum())
        if self.merge and len(operations) == 1:
            before, all_binary = self._hoisted.get(calls.layer, (0, True))
            self._hoisted[calls.layer] = before + total, all_binary and bool(binary[0])
        else:
            self._acs += spiking
            self._macs += total - spiking

    def effective(self) -> tuple[int, int]:
        """MACs and ACs with non-zero inputs and weights."""
        hoisted = self._hoisted.values()
        macs = self._macs + sum(operations for operations, binary in hoisted if not binary)
        acs = self._acs + sum(operations for operations, binary in hoisted if binary)
        return macs, acs

    def activation_sparsity(self) -> float:
        """Share of zero activations; 0 for a decoder without any, as in NeuroBench."""
        if self.activations == 0:
            return 0.0
        return (self.activations - self.nonzero) / self.activations


def dense(record: Record) -> int:
    """Dense operations of all calls; their list is emptied."""
    return sum(count(calls)[2] for calls in by_layer(record.calls))


def by_layer(calls: list[LayerCalls]) -> Iterator[LayerCalls]:
    """The calls, those of a layer that is called for each step together; the list is emptied.

    From the last to the first, and no reference is kept: what is freed first was made last.
    """
    groups: dict[tuple, list[LayerCalls]] = {}
    while calls:
        groups.setdefault(_kind(calls[-1]), []).append(calls.pop())
    for group in groups.values():
        if len(group) > FEW:
            layer, received = (
                group[0].layer,
                zip(*(each.inputs for each in group[::-1]), strict=True),
            )
            group[:] = [LayerCalls(layer, tuple(map(torch.cat, received)))]
        group.reverse()
        while group:
            yield group.pop()


def _kind(calls: LayerCalls) -> tuple[nn.Module | torch.Size, ...]:
    return calls.layer, *(x.shape[1:] for x in calls.inputs)


def count(
    calls: LayerCalls, fan_outs: dict[tuple[nn.Module, torch.Size], FanOut] | None = None
) -> tuple[np.ndarray, np.ndarray, int]:
    """Operations of each call by NeuroBench's rules.

    Args:
        calls: of one layer.
        fan_outs: what was counted from the weights before, by layer and shape; added to.
    Returns:
        effective operations per call (n,) int64, whether the call's first input is binary
        (n,) bool, and the dense operations of all calls together.
    Raises:
        EvaluationError: NeuroBench or this module has no rule for the layer.
    """
    layer, first = calls.layer, calls.inputs[0]
    if not isinstance(layer, (*_STATELESS, nn.GRUCell)):
        raise EvaluationError(
            f"synaptic operations: no exact count for a layer of type {type(layer).__name__}; "
            "use Linear, Conv1d, Conv2d, Conv3d or GRUCell layers"
        )
    fan_outs, key = {} if fan_outs is None else fan_outs, (layer, first.shape)
    if key not in fan_outs:
        rule = _convolution if isinstance(layer, _CONVOLUTIONS) else _matrix
        fan_outs[key] = rule(layer, first)
    fan_out = fan_outs[key]
    effective, binary = counting.tally(first, fan_out)
    if isinstance(layer, nn.GRUCell):
        effective, dense = _gru_cell(layer, *calls.inputs)
        return effective.numpy(force=True), binary, dense
    return effective, binary, fan_out.dense * (first.numel() // math.prod(fan_out.shape))


def _matrix(layer: nn.Linear | nn.GRUCell, inputs: Tensor) -> FanOut:
    """Of the last axis; a GRU's is not asked for."""
    weight = layer.weight_ih if isinstance(layer, nn.GRUCell) else layer.weight
    counts = (weight != 0).sum(dim=0, dtype=torch.int32).numpy(force=True)
    return FanOut(counts, np.arange(len(counts)), weight.numel())


def _convolution(layer: nn.Module, inputs: Tensor) -> FanOut:
    """Of the channels and positions of one sample."""
    channels, *others, size = inputs.shape[-layer.weight.ndim + 1 :]
    positions = _positions(layer, size)
    few = *others, int(positions[-1]) + 1
    taps = _taps(layer, few)
    out, group, *_ = layer.weight.shape
    weights = (layer.weight != 0).reshape(layer.groups, out // layer.groups, group, -1).sum(dim=1)
    counts = weights.reshape(channels, -1).numpy(force=True) @ taps
    met = taps.sum(axis=0).reshape(few)[..., positions].sum()
    counts = counts.reshape(channels, *few).astype(np.int32)
    return FanOut(counts, positions, int(met) * group * out)


def _positions(layer: nn.Module, size: int) -> np.ndarray:
    """For each of ``size`` positions on the last axis, one of the first that meets as many taps,
    counted from either edge: between, those that are a stride apart do."""
    stride, padding = layer.stride[-1], max(layer._reversed_padding_repeated_twice[:2])
    reach = layer.dilation[-1] * (layer.kernel_size[-1] - 1) + stride + padding
    left_out = max(0, size - 2 * reach - stride) // stride * stride
    positions = np.arange(size)
    alike = np.minimum(positions, reach + (positions - reach) % stride)
    return np.where(positions < reach + left_out, alike, positions - left_out)


def _taps(layer: nn.Module, positions: Sequence[int]) -> np.ndarray:
    """How often each tap of a kernel meets each input position, (taps, positions) int64.

    A convolution whose kernels are one-hot copies the inputs that meet each tap; here it
    copies their numbers, counted from 1, so that padding stays 0.
    """
    kernel = layer.weight.shape[2:]
    taps, count = math.prod(kernel), math.prod(positions) + 1
    probe = copy.copy(layer)
    probe.groups = 1
    one_hot = torch.eye(taps, dtype=torch.float64).reshape(taps, 1, *kernel)
    numbers = torch.arange(1.0, count, dtype=torch.float64)
    met = probe._conv_forward(numbers.reshape(1, 1, *positions), one_hot, None)
    met = np.rint(met.flatten(2)[0].numpy()).astype(np.int64) + count * np.arange(taps)[:, None]
    return np.bincount(met.ravel(), minlength=taps * count).reshape(taps, count)[:, 1:]


def _gru_cell(layer: nn.GRUCell, inputs: Tensor, hidden: Tensor) -> tuple[Tensor, int]:
    if not layer.bias:
        raise EvaluationError("synaptic operations: NeuroBench cannot count a GRUCell without bias")
    present = [p != 0 for p in layer.parameters()]
    everything = [torch.ones_like(p) for p in present]
    x, h = (v.reshape(len(v), -1, v.shape[-1]) != 0 for v in (inputs, hidden))
    ones = torch.ones_like(x[:1, 0]), torch.ones_like(h[:1, 0])
    # Inputs and states are hardly ever zero: all rows without a zero have one count.
    operations = torch.full(x.shape[:2], int(_gru_operations(*ones, *present)), device=x.device)
    others = ~(x.all(dim=2) & h.all(dim=2))
    operations[others] = _gru_operations(x[others], h[others], *present)
    dense = int(_gru_operations(*ones, *everything)) * operations.numel()
    return operations.sum(dim=1), dense


def _gru_operations(
    x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor
) -> Tensor:
    """NeuroBench's count for each row of a GRUCell, (n, inputs) and (n, hidden) -> (n,) int64.

    Kept as it is there, with its oddities: the candidate state takes the recurrent product
    instead of the input's, and of the input's biases the one at index 2 for all units;
    1 - z counts as zero where z counted exactly one. All values are counts, exact in float32.
    """
    x, h, w_ih, w_hh, b_ih, b_hh = (values.float() for values in (x, h, w_ih, w_hh, b_ih, b_hh))
    from_input, from_hidden = x @ w_ih.T, h @ w_hh.T
    products = from_input + from_hidden
    r, z, _ = (products + b_ih + b_hh).chunk(3, dim=-1)
    candidate = from_hidden.chunk(3, dim=-1)[2]
    reset = (r != 0) & (candidate + b_hh.chunk(3)[2] != 0)
    new = candidate + b_ih[2] + reset != 0
    update = ((z != 1) & new).float() + ((z != 0) & (h != 0)).float()
    terms = (products, reset, update)
    return sum(term.sum(dim=1, dtype=torch.double) for term in terms).long()
