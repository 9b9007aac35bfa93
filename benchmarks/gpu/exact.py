"""Comparison with float64, in which a spike may flip for a reason only.

A spike is all or nothing. Where a membrane comes to its threshold to within rounding, two sound
computations part, and so does all that follows in that stream. Where streams part, the first spike
that differs must be such a one; they are counted, and left out of what is compared.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from gpu.checks import replaced
from spikereach.ops.current_lif import step as current_lif
from spikereach.ops.lif import step as lif


@contextmanager
def noting_distances() -> Iterator[list[Tensor]]:
    """What each call of the step function within was given: membranes less threshold."""
    calls, spike = [], lif.spike

    def noted(distance, surrogate):
        calls.append(distance.detach())
        return spike(distance, surrogate)

    with replaced(lif, spike=noted), replaced(current_lif, spike=noted):
        yield calls


def distances(spikes: Mapping[str, Tensor], calls: list[Tensor]) -> dict[str, Tensor]:
    """For the spikes (steps, B, N) of each layer, the distances that they came from.

    Layers are called one after the other over all steps, or step by step in turn. A spiking GRU
    calls the step function for both gates and then for the candidate.
    """
    left, found = list(calls), {}
    for name, z in spikes.items():
        parts, rows, later = [], 0, []
        while left:
            call = left.pop(0)
            if call.shape[-1] * 3 == z.shape[-1] * 2 and left:
                call = torch.cat([call, left.pop(0)], -1)
            if call.shape[-1] == z.shape[-1] and rows < z.shape[0] * z.shape[1]:
                parts.append(call.reshape(-1, z.shape[-1]))
                rows += len(parts[-1])
            else:
                later.append(call)
        found[name] = torch.cat(parts).view_as(z)
        left = later
    return found


def parted(
    spikes: Mapping[str, Tensor],
    exact: Mapping[str, Tensor],
    calls: list[Tensor],
    *,
    rounding: float,
    parting: float,
) -> Tensor:
    """Which of the B streams have another spike somewhere, (B,) on the CPU.

    Args:
        spikes: (steps, B, N) by layer, in the order of their computation.
        exact: those of float64.
        calls: the distances that :func:`noting_distances` noted for the latter.
        rounding: the largest distance from the threshold at which a spike may flip.
        parting: the largest share of streams that may part; one always may.
    Raises:
        AssertionError: a first spike that differs was further from its threshold, or more streams
            part than rounding explains.
    """
    flips = {name: (spikes[name].cpu() != 0) != (exact[name].cpu() != 0) for name in exact}
    streams = torch.stack([flip.any(2).any(0) for flip in flips.values()]).any(0)
    if not streams.any():
        return streams
    known = distances(exact, calls)
    for stream in streams.nonzero().flatten().tolist():
        steps = {n: int(f[:, stream].any(1).int().argmax()) for n, f in flips.items()
                 if f[:, stream].any()}  # fmt: skip
        layer = min(steps, key=steps.get)
        first = steps[layer], stream
        furthest = float(known[layer][first].abs().cpu()[flips[layer][first]].max())
        assert furthest <= rounding, (
            f"in stream {stream} a spike of layer {layer} flips at step {steps[layer]}, where the "
            f"membrane is {furthest:.2g} from its threshold; rounding explains {rounding:g}"
        )
    count = int(streams.sum())
    assert count <= max(1, parting * len(streams)), (
        f"{count} of {len(streams)} streams part; rounding explains fewer"
    )
    return streams


def difference(ours: Tensor, exact: Tensor) -> float:
    """The largest, as a part of the largest value, or absolute where that is below one."""
    assert ours.shape == exact.shape, f"shape {tuple(ours.shape)}, expected {tuple(exact.shape)}"
    if not exact.numel():
        return 0.0
    ours, exact = (each.detach().cpu().double() for each in (ours, exact))
    return float((ours - exact).abs().max() / max(1.0, float(exact.abs().max())))


def deviation(ours: Tensor, exact: Tensor, least: float = 1e-12) -> float:
    """Root mean square of the difference, as a part of that of the values; of their norm, if that
    is ``least`` or more."""
    ours, exact = (each.detach().cpu().double() for each in (ours, exact))
    return float((ours - exact).norm() / exact.norm().clamp(min=least))


class Alike(TorchFunctionMode):
    """The same random numbers on every device and in float64, where asked for that too.

    They are drawn on the CPU in float32. In float64 what asks for float32 gets float64.
    """

    def __init__(self, *, exact: bool):
        super().__init__()
        self.exact = exact

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in (torch.rand_like, torch.randn_like):
            draw = torch.rand if func is torch.rand_like else torch.randn
            return draw(args[0].shape, dtype=torch.float32, device="cpu").to(args[0])
        if func is torch.poisson:
            return torch.poisson(args[0].float().cpu()).to(args[0])
        if func is torch.randn:
            wanted = torch.get_default_dtype()
            drawn = torch.randn(*args, dtype=torch.float32)
            return drawn.to(kwargs.get("device", "cpu"), kwargs.get("dtype") or wanted)
        if func is torch.nn.functional.dropout:
            return self._dropout(*args, **kwargs)
        if func is torch.Tensor.float and self.exact:
            return args[0].double()
        return func(*args, **kwargs)

    def _dropout(self, x, p=0.5, training=True, inplace=False):
        if not training:
            return x
        kept = torch.rand(x.shape, dtype=torch.float32, device="cpu") >= p
        return x * kept.to(x.device) / (1 - p)


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Of tensors made within, states that a decoder begins with among them."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
