"""Compiled training passes of a convolution block against PyTorch's operations in float64."""

import itertools

import pytest
import torch
from torch.nn import functional as F

from spikereach.models.hybrid import Block
from spikereach.ops.common.dropout import draw_dropout
from spikereach.ops.common.fixed_point import Formats, quantise
from spikereach.ops.conv_pool import Normalisation, conv_pool
from spikereach.ops.conv_pool.cpu import _spans

NAMES = ("frames", "odd", "mean", "variance", "x", "weight", "bias", "norm weight", "norm bias")


def case(batch, steps, inputs, kernel, outputs, *, events, kind=torch.float32):
    """Inputs, parameters and the weights of a scalar loss."""
    torch.manual_seed(0)
    x = torch.rand(batch, steps, inputs) < 0.3 if events else torch.randn(batch, steps, inputs)
    weight = torch.randn(outputs, inputs, kernel)
    vectors = torch.randn(3, outputs)
    frames = steps - kernel + 1
    losses = [torch.randn(batch, n, outputs) for n in (frames // 2, frames % 2)]
    return x.to(kind), [weight, *vectors], losses


def compiled(x, parameters, losses, *, norm, events, fixed_point=None, dropout=None):
    x = x.clone().requires_grad_(not events)
    weight, bias, *affine = parameters = [p.clone().requires_grad_() for p in parameters]
    normalisation = Normalisation(*affine, 1e-5) if norm else None
    options = {"events": events, "fixed_point": fixed_point, "dropout": dropout}
    result = conv_pool(x.split([2, x.shape[1] - 2], 1), weight, bias, normalisation, **options)
    sum((part * by).sum() for part, by in zip(result[:2], losses, strict=True)).backward()
    gradients = [t.grad for t in (x, *parameters)]
    return dict(zip(NAMES, [*result, *gradients], strict=True))


def exact(x, parameters, losses, *, norm, events, fixed_point=None, dropout=None):
    """The same with float64 operations of PyTorch, one after another."""
    x = x.double().requires_grad_(not events)
    weight, bias, *affine = parameters = [p.double().requires_grad_() for p in parameters]
    frames = F.conv1d(x.transpose(1, 2), weight, bias)
    mean = variance = None
    if norm:
        mean, variance = frames.mean((0, 2)), frames.transpose(0, 1).flatten(1).var(1)
        frames = F.batch_norm(frames, None, None, *affine, training=True, eps=1e-5)
    if fixed_point is not None:
        frames = quantise(frames, *fixed_point)
    whole = frames.shape[2] // 2 * 2
    pooled = frames[:, :, :whole].unflatten(2, (-1, 2)).amax(3).transpose(1, 2)
    pooled = pooled if dropout is None else pooled * dropout.keep * dropout.scale
    result = pooled, frames[:, :, whole:].transpose(1, 2), mean, variance
    sum((part * by).sum() for part, by in zip(result[:2], losses, strict=True)).backward()
    gradients = [t.grad for t in (x, *parameters)]
    return dict(zip(NAMES, [*result, *gradients], strict=True))


def assert_close(ours, theirs):
    for name, found in ours.items():
        wanted = theirs[name]
        if wanted is None:
            assert found is None, name
            continue
        scale = max(1.0, float(wanted.detach().abs().max())) if wanted.numel() else 1.0
        torch.testing.assert_close(
            found.double(), wanted, rtol=1e-5, atol=2e-6 * scale, msg=lambda m, n=name: f"{n}: {m}"
        )


SHAPES = [
    (1, 3, 1, 2, 1),
    (3, 20, 5, 4, 7),
    (3, 21, 5, 1, 7),
    (40, 33, 6, 9, 3),
    (2, 5, 4, 5, 2),
    (9, 6, 4, 5, 18),
    (2, 90, 3, 31, 4),  # more taps than fit into one matrix
]


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("events", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_results_and_gradients(shape, events, norm):
    drawn = case(*shape, events=events)
    options = {"norm": norm, "events": events}
    assert_close(compiled(*drawn, **options), exact(*drawn, **options))


@pytest.mark.parametrize("kind", [torch.uint8, torch.bool, torch.int64, torch.float32])
def test_spikes_of_any_type(kind):
    drawn = case(5, 30, 4, 3, 6, events=True, kind=kind)
    options = {"norm": True, "events": True}
    assert_close(compiled(*drawn, **options), exact(*drawn, **options))


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_spikes_in_any_layout(kind):
    x, (weight, bias, *_), _ = case(5, 30, 4, 3, 6, events=True, kind=kind)
    by_step = x.transpose(0, 1).contiguous().transpose(0, 1)
    parts = [x], [by_step], [by_step[:, :7], x[:, 7:].contiguous()], x.split(11, 1)
    first, *others = (conv_pool(p, weight, bias, None, events=True).frames for p in parts)
    for other in others:
        assert torch.equal(other, first)


@pytest.mark.parametrize("events", [True, False])
def test_dropout(events):
    drawn = case(9, 25, 4, 4, 6, events=events)
    options = {"norm": True, "events": events, "dropout": draw_dropout((9, 11, 6), 0.4, "cpu")}
    ours = compiled(*drawn, **options)
    assert 0.3 < (ours["frames"] == 0).float().mean() < 0.5
    assert_close(ours, exact(*drawn, **options))


@pytest.mark.parametrize("norm", [True, False])
def test_fixed_point_saturates_and_ties(norm):
    """On a coarse grid many frames of a pair are equal, and many lie outside."""
    x, parameters, losses = case(9, 25, 4, 4, 6, events=False)
    x = (x * 4).round() / 4  # sums in binary fractions: exact in both precisions
    parameters = [(p * 4).round() / 4 for p in parameters]
    options = {"norm": norm, "events": False, "fixed_point": (1, 1)}
    ours, theirs = (f(x, parameters, losses, **options) for f in (compiled, exact))
    assert set(ours["frames"].unique().tolist()) <= {k / 2 for k in range(-4, 4)}
    assert 0 < (ours["frames"] == 1.5).float().mean() < 1
    assert_close(ours, theirs)


@pytest.mark.parametrize("shape", [(33, 50, 6, 5, 4), (3, 2000, 32, 9, 16)])
def test_the_number_of_threads_changes_no_bit(shape):
    drawn = case(*shape, events=True), case(*shape, events=False)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found = [
                compiled(*d, norm=True, events=e) for d, e in zip(drawn, (True, False), strict=True)
            ]
            results.append(found)
    finally:
        torch.set_num_threads(before)
    for one, other in zip(*results, strict=True):
        for name in one:
            assert one[name] is other[name] is None or torch.equal(one[name], other[name]), name


@pytest.mark.parametrize("events", [True, False])
def test_a_stream_is_the_same_in_any_batch(events):
    x, parameters, losses = case(20, 40, 6, 5, 4, events=events)
    options = {"norm": False, "events": events}
    whole = compiled(x, parameters, losses, **options)["frames"]
    alone = compiled(x[13:14], parameters, [g[13:14] for g in losses], **options)["frames"]
    torch.testing.assert_close(whole[13:14], alone, rtol=0, atol=0 if events else 1e-5)


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("spikes", [True, False])
@pytest.mark.parametrize("steps", [40, 41])
def test_a_block_trains_alike_in_compiled_passes_and_in_modules(spikes, norm, steps):
    results = []
    for way in ("compiled", "modules"):
        torch.manual_seed(0)
        block = Block(5, 3, 4, norm=norm, dropout=0.3, spikes=spikes).train()
        x = (torch.rand(6, steps, 5) < 0.3).float()
        # An odd frame from before leaves no choice but the modules: here one of no streams.
        state = block.init_state(6)
        if way == "modules":
            block._compiled = lambda *_: False
        (pooled,), after = block([x], state, Formats())
        (pooled.square().sum() + after.odd.square().sum()).backward()
        tensors = itertools.chain(
            [pooled, *after],
            # In front of batch norm a bias has no effect, and the modules leave it noise.
            (p.grad for n, p in block.named_parameters() if not (norm and n == "conv.bias")),
            block.buffers(),
        )
        results.append([t.detach() for t in tensors])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("fixed_point", [None, (1, 4)])
@pytest.mark.parametrize("events", [True, False])
@pytest.mark.parametrize(
    ("streams", "steps"), [(1, 300), (1, 2301), (2, 900), (5, 700), (1, 20001)]
)
def test_stretches_of_streams_without_gradients(streams, steps, events, fixed_point):
    x, (weight, bias, *_), _ = case(streams, steps, 3, 5, 4, events=events)
    x, weight, bias = ((t * 8).round() / 8 for t in (x, weight, bias))  # exact in float32
    parts = x.split([2, steps // 3, steps - 2 - steps // 3], 1)
    ours = conv_pool(parts, weight, bias, None, events=events, fixed_point=fixed_point)
    frames = F.conv1d(x.double().transpose(1, 2), weight.double(), bias.double())
    frames = frames if fixed_point is None else quantise(frames, *fixed_point)
    pooled = F.max_pool1d(frames, 2).transpose(1, 2)
    assert torch.equal(ours.frames.double(), pooled)
    odd = frames[:, :, pooled.shape[1] * 2 :].transpose(1, 2)
    assert torch.equal(ours.odd.double(), odd)


@pytest.mark.parametrize("frames", [1, 2, 255, 256, 257, 1024, 4097, 40_000])
@pytest.mark.parametrize("batch", [1, 2, 3, 7])
def test_stretches_cover_each_stream_once_and_cut_no_pair(batch, frames):
    spans = _spans(batch, frames)
    covered = [(b, t) for b, start, stop in spans for t in range(start, stop)]
    assert covered == [(b, t) for b in range(batch) for t in range(frames)]
    assert all(start % 2 == 0 for _, start, _ in spans)
    assert max(stop - start for _, start, stop in spans) <= 4096 + 1
