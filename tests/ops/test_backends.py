"""Every backend of every operation against its reference."""

import copy
from contextlib import nullcontext

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from operations import BACKEND, DEVICE, OPERATIONS, TRITON, Layer, differentiated, silent
from replay import judged
from torch.nn import functional as F

from spikereach.models.rsnn import RSNN
from spikereach.models.snn2 import SNN2
from spikereach.ops.common import backends
from spikereach.ops.common.dropout import draw_dropout
from spikereach.ops.common.record import recording
from spikereach.ops.common.surrogates import Surrogate, fast_sigmoid, triangle
from spikereach.ops.current_lif import scan_current_lif
from spikereach.ops.current_lif.step import CurrentLayers, CurrentParameters, CurrentState
from spikereach.ops.lif import scan_lif
from spikereach.ops.lif.step import LIFParameters, LIFState

HERE = [name for name, operation in OPERATIONS.items() if BACKEND in operation.backends]
SIZES = {"steps": [1, 20, 40], "batch": [1, 3], "units": [1, 7, 16, 21]}
if TRITON is None:
    SIZES = {"steps": [1, 20, 33, 70], "batch": [1, 5, 70], "units": [1, 9, 64, 150]}
LOSSES = st.sampled_from(["each step", "sum over time", "mean", None])

cpu_only = pytest.mark.skipif(TRITON is not None, reason="of the compiled loops")
triton_only = pytest.mark.skipif(TRITON is None, reason="of the Triton kernels")


def campaign(examples):
    """No search for the smallest example, for which an interpreter is too slow."""
    return settings(
        max_examples=examples if TRITON is None else max(6, examples // 8),
        phases=[Phase.explicit, Phase.generate],
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )


def cases(operation):
    """Sizes, options, and which outputs the loss is made of, in which way."""
    choices = SIZES | operation.options
    drawn = {name: st.sampled_from(values) for name, values in choices.items()}
    return st.fixed_dictionaries(drawn | {"seed": st.integers(0, 2**20), "loss": LOSSES})


FLIPS = 1e-4
"""Share of spikes, and one more, that may differ from those of float64."""


ROUNDING = 1e-5
"""What gradients in float32 may be off, as a share of the largest or of one."""


def _largest(gradient, expected):
    return (gradient.double() - expected).abs().max().item()


def assert_agrees(operation, options, backend=BACKEND):
    """With the reference in float64, which follows the backend's spikes (`replay`)."""
    outputs, ours = differentiated(operation, options, backend)
    parts, sure = tuple(options["units"] * part for part in operation.parts), slice(None)
    with judged(outputs[0], parts) if parts else nullcontext() as judge:
        expected, gradients = differentiated(operation, options, "reference", torch.float64)
    if parts:
        assert judge.flips <= 1 + FLIPS * outputs[0].numel()
        sure = ~judge.doubts
    for number, (out, other) in enumerate(zip(outputs, expected, strict=True)):
        assert out.dtype == torch.float32
        if number and parts and out.shape == sure.shape:
            out, other = out[sure], other[sure]
        torch.testing.assert_close(out.double(), other, rtol=1e-5, atol=1e-5)
    for name, gradient in gradients.items() if not parts or sure.all() else ():
        if gradient is None:
            assert ours[name] is None or not ours[name].any(), name
            continue
        scale = max(1.0, gradient.abs().max().item())
        if (off := _largest(ours[name], gradient)) > ROUNDING * scale:
            # Long sums may cancel: then those of the reference are as far off in float32.
            with judged(outputs[0], parts) if parts else nullcontext():
                _, single = differentiated(operation, options, "reference")
            assert off <= 4 * _largest(single[name], gradient), name
    return outputs[0]


@pytest.mark.parametrize("name", HERE)
@campaign(60)
@given(data=st.data())
def test_a_backend_equals_the_reference(name, data):
    operation = OPERATIONS[name]
    assert_agrees(operation, data.draw(cases(operation)))


@pytest.mark.long
@pytest.mark.parametrize("name", HERE)
@campaign(600)
@given(data=st.data())
def test_a_backend_equals_the_reference_in_many_cases(name, data):
    operation = OPERATIONS[name]
    assert_agrees(operation, data.draw(cases(operation)))


@pytest.mark.parametrize("wide", [False, True])
def test_every_option_at_once(wide):
    options = {"steps": 20, "batch": 2, "units": 13, "seed": 0, "loss": "each step"}
    options |= {"surrogate": fast_sigmoid(5.0), "recurrent": True}
    options |= {"inputs": 7, "outputs": 2, "dropout": (0.3, 0.3), "kind": torch.uint8, "wide": wide}
    lif = {"fixed_point": (1, 4)}
    rules = ("lif", lif | {"reset": "zero_and_input"}), ("lif", lif | {"reset": "zero"})
    for name, more in (*rules, ("current_lif", {})):
        z = assert_agrees(OPERATIONS[name], options | more)
        assert 0.01 < z.mean() < 0.6


@cpu_only
def test_gradients_do_not_depend_on_threads():
    options = {"steps": 30, "batch": 100, "units": 12, "seed": 0, "loss": "each step"}
    options |= {"surrogate": triangle(), "reset": "subtract", "fixed_point": None}
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(
                differentiated(OPERATIONS["lif"], options | {"recurrent": True}, BACKEND)
            )
    finally:
        torch.set_num_threads(before)
    (outputs, gradients), (other_outputs, other_gradients) = results
    assert all(torch.equal(a, b) for a, b in zip(outputs, other_outputs, strict=True))
    assert all(torch.equal(gradients[name], other_gradients[name]) for name in gradients)


def test_the_reference_serves_what_the_compiled_loops_do_not():
    """Other types, and thresholds that are learned."""
    half = torch.zeros(2, 1, 3, dtype=torch.float16)
    zeros = torch.zeros(1, 3, dtype=torch.float16)
    z, _ = scan_lif(half, None, LIFParameters(0.9), LIFState(zeros, zeros), surrogate=triangle())
    assert z.dtype == torch.float16
    threshold = torch.tensor(0.5, device=DEVICE, requires_grad=True)
    ones, neuron = torch.ones(2, 1, 3, device=DEVICE), LIFParameters(0.9, threshold)
    z, _ = scan_lif(ones, None, neuron, silent(1, 3), surrogate=triangle())
    z.sum().backward()
    assert threshold.grad.abs() > 0


def test_the_fastest_backend_that_fits_is_taken():
    taken = backends.choose("spikereach.ops.lif", None, torch.zeros(2, 2, device=DEVICE))
    assert taken.__name__ == f"spikereach.ops.lif.{'triton' if TRITON == '0' else 'cpu'}"
    taken = backends.choose("spikereach.ops.lif", None, torch.zeros(2, device=DEVICE).half())
    assert taken.__name__ == "spikereach.ops.lif.reference"
    with backends.only("reference"):
        assert backends.choose("spikereach.ops.lif", None, torch.zeros(2)) is taken


def test_unknown_names_are_refused():
    def run(surrogate, reset):
        rules = {"surrogate": surrogate, "reset": reset, "backend": BACKEND}
        scan_lif(torch.zeros(1, 1, 1, device=DEVICE), None, LIFParameters(0.9), None, **rules)

    with pytest.raises(ValueError, match="soft"):
        run(triangle(), "soft")
    with pytest.raises(ValueError, match="box"):
        run(Surrogate("box", 1.0, 1.0), "zero")


def test_the_forward_pass_alone_keeps_nothing():
    """Without gradients, the same spikes and no checkpoints."""
    torch.manual_seed(0)
    currents = torch.randn(40, 2, 8, device=DEVICE)
    eye, rules = Layer(torch.eye(8, device=DEVICE)), {"surrogate": triangle(), "backend": BACKEND}
    (z, state), (other, other_state) = (
        scan_lif(leaf, eye, LIFParameters(0.9), silent(2, 8), **rules)
        for leaf in (currents, currents.clone().requires_grad_())
    )
    assert not z.requires_grad
    assert torch.equal(z, other)
    assert torch.equal(state.v, other_state.v)


@triton_only
def test_lif_of_many_units_without_recurrence():
    """More than one program per stream, constants of each unit."""
    g, results = torch.Generator().manual_seed(0), []
    currents = torch.randn(20, 2, 150, generator=g).to(DEVICE)
    decay, threshold = (torch.rand(2, 150, generator=g) * 0.4 + 0.5).to(DEVICE)
    for backend in ("reference", BACKEND):
        leaves = [t.clone().requires_grad_() for t in (currents, decay)]
        neuron = LIFParameters(leaves[1], threshold)
        rules = {"surrogate": fast_sigmoid(5.0), "backend": backend}
        z, state = scan_lif(leaves[0], None, neuron, silent(2, 150), **rules)
        (z * torch.linspace(0, 1, 150, device=DEVICE)).sum().backward()
        results.append((z, *state, *(leaf.grad for leaf in leaves)))
    assert 0.1 < results[0][0].mean() < 0.6
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-4)


@triton_only
def test_lif_takes_the_currents_of_mixed_precision():
    """bfloat16 currents, weights and gradients; the neuron itself is float32."""
    torch.manual_seed(0)
    currents, weight = torch.randn(20, 2, 8), torch.randn(8, 8) * 0.3
    halves = [t.to(DEVICE, torch.bfloat16).requires_grad_() for t in (currents, weight)]
    singles = [t.detach().double().requires_grad_() for t in halves]
    rules = {"surrogate": triangle(), "backend": "cuda"}
    z, state = scan_lif(halves[0], Layer(halves[1]), LIFParameters(0.9), silent(2, 8), **rules)
    assert z.dtype == state.v.dtype == torch.float32
    (z * torch.arange(8, device=DEVICE)).sum().backward()
    assert z.sum() > 10
    with judged(z.detach(), (8,)) as judge:
        rest = LIFState(*torch.zeros(2, 2, 8, dtype=torch.float64, device=DEVICE))
        rules["backend"] = "reference"
        z, _ = scan_lif(singles[0], Layer(singles[1]), LIFParameters(0.9), rest, **rules)
        (z * torch.arange(8, device=DEVICE)).sum().backward()
    assert judge.flips <= 1
    for half, single in zip(halves, singles, strict=True):
        assert half.grad.dtype == torch.bfloat16
        torch.testing.assert_close(half.grad.double(), single.grad, rtol=1e-2, atol=1e-2)


@triton_only
@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1, 2**31, 2**63 - 2])
@pytest.mark.parametrize("width", [1, 4, 7])
def test_dropout_is_that_of_all_backends(seed, width):
    """For every size of seed; Triton passes integers of 32 and 64 bits and the number one each in
    a way of its own."""
    from spikereach.ops.common.triton import received

    x = torch.rand(50, 3, width, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    dropout = draw_dropout(x.shape, 0.4, DEVICE)._replace(seed=seed)
    after = received(x, dropout)
    assert torch.equal(after, dropout(x))
    assert 0.3 < (after == 0).float().mean() < 0.5


@triton_only
def test_membranes_that_are_not_numbers_stay_so():
    """An explosion must be seen, in fixed point too."""
    currents = torch.tensor([1.0, torch.nan, 0.0], device=DEVICE).view(3, 1, 1)
    for fixed_point in (None, (1, 4)):
        rules = {"surrogate": triangle(), "fixed_point": fixed_point, "backend": "cuda"}
        _, state = scan_lif(currents, None, LIFParameters(0.9), silent(1, 1), **rules)
        assert state.v.isnan().all()


@triton_only
def test_autocast_leaves_the_neuron_in_float32():
    torch.manual_seed(0)
    x = (torch.rand(30, 2, 6) < 0.3).float().to(DEVICE)
    weights = [torch.randn(shape).to(DEVICE).requires_grad_() for shape in ((5, 6), (5, 5), (2, 5))]
    layers = CurrentLayers(*map(Layer, weights))
    decays = CurrentParameters(*torch.full((2, 5), 0.8, device=DEVICE))
    state, results = CurrentState(*torch.zeros(3, 2, 5, device=DEVICE)), []
    for enabled in (True, False):
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=enabled):
            rules = {"surrogate": fast_sigmoid(5.0), "backend": "cuda"}
            z, out, _ = scan_current_lif(x, layers, decays, state, **rules)
            loss = F.mse_loss(out.float(), torch.ones_like(out).float()) + z.mean()
        results.append((z, out, *torch.autograd.grad(loss, weights)))
    for with_it, without in zip(*results, strict=True):
        assert torch.equal(with_it, without)
    assert results[0][0].sum() > 5


DECODERS = {
    "rsnn": lambda: RSNN(channels=6, hidden=8, readouts=((50.0, 10.0), (20.0, 5.0))),
    "snn2": lambda: SNN2(channels=6, hidden=8, dropout=0.0),
}


@pytest.mark.parametrize("name", DECODERS)
def test_decoders_have_the_gradients_of_the_reference(name):
    torch.manual_seed(0)
    decoder = DECODERS[name]().to(DEVICE)
    with torch.no_grad():
        for weight in (p for p in decoder.parameters() if p.dim() == 2):
            weight.mul_(3.0)  # so that they fire
    spikes = (torch.rand(40, 2, 6) < 0.3).float().to(DEVICE)
    exact = copy.deepcopy(decoder).double()

    def gradients(decoder, spikes, backend):
        torch.manual_seed(1)  # of dropout
        with recording(decoder) as record, backends.only(backend):
            loss = decoder.decode(spikes).square().mean()
        (fired,) = record.spikes.values()
        if fired.requires_grad:
            loss = loss + fired.sum(0).square().mean()
        found = torch.autograd.grad(loss, list(decoder.parameters()), allow_unused=True)
        return fired.detach(), [loss.detach(), *(g for g in found if g is not None)]

    fired, ours = gradients(decoder, spikes, BACKEND)
    assert fired.sum() > 5
    with judged(fired, (8,)) as judge:
        _, expected = gradients(exact, spikes.double(), "reference")
    assert judge.flips <= 1
    for gradient, other in zip(ours, expected, strict=True):
        scale = max(1.0, other.abs().max().item())
        torch.testing.assert_close(gradient.double() / scale, other / scale, rtol=0, atol=1e-5)


def test_a_spike_may_differ_only_within_rounding_of_the_threshold():
    currents = torch.tensor([0.75 + 1e-6, 0.2, 0.9], dtype=torch.float64).view(1, 1, 3)

    def follow(*spikes):
        with judged(torch.tensor(spikes).view(1, 1, 3), (3,)) as judge:
            rules = {"surrogate": triangle(), "backend": "reference"}
            scan_lif(currents, None, LIFParameters(0.9, 0.75), None, **rules)
        return judge.flips

    assert follow(1.0, 0.0, 1.0) == 0
    assert follow(0.0, 0.0, 1.0) == 1
    with pytest.raises(AssertionError, match="from the threshold"):
        follow(1.0, 1.0, 1.0)
