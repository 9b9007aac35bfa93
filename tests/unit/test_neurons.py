"""Neurons against closed forms and snnTorch, scans against their steps."""

import math

import pytest
import snntorch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikereach.models.leaky import Leaky
from spikereach.ops.common.dropout import draw_dropout
from spikereach.ops.common.spikes import Spikes
from spikereach.ops.common.surrogates import Surrogate, arctan, fast_sigmoid, spike, triangle
from spikereach.ops.current_lif import scan_current_lif
from spikereach.ops.current_lif.step import CurrentParameters, CurrentState, CurrentWeights
from spikereach.ops.integrator import scan_current_integrator, scan_integrator
from spikereach.ops.lif import scan_lif
from spikereach.ops.lif.step import LIFParameters, LIFState, lif_step


def rest(batch, units):
    return LIFState(torch.zeros(batch, units), torch.zeros(batch, units))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (fast_sigmoid(25.0), snntorch.surrogate.fast_sigmoid(slope=25)),
        (arctan(2.0), snntorch.surrogate.atan(alpha=2.0)),
    ],
)
def test_surrogates_equal_snntorchs(ours, theirs):
    gradients = []
    for function in (lambda x: spike(x, ours), theirs):
        x = torch.linspace(-2, 2, 41, requires_grad=True)
        z = function(x)
        z.sum().backward()
        gradients.append((z.detach(), x.grad))
    assert torch.equal(gradients[0][0], gradients[1][0])
    torch.testing.assert_close(gradients[0][1], gradients[1][1])


def test_triangle_has_its_peak_at_the_threshold_and_its_half_width():
    x = torch.tensor([-2.0, -1.0, 0.0, 0.5, 1.0])
    expected = torch.tensor([0.0, 0.0, 0.3, 0.15, 0.0])
    torch.testing.assert_close(triangle(0.3).derivative(x), expected)
    torch.testing.assert_close(
        triangle(1.0, half_width=0.5).derivative(x), torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0])
    )


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="box"):
        Surrogate("box", 1.0, 1.0).derivative(torch.zeros(1))
    with pytest.raises(ValueError, match="soft"):
        lif_step(
            torch.zeros(1, 1),
            rest(1, 1),
            LIFParameters(0.9),
            surrogate=fast_sigmoid(),
            reset="soft",
        )
    with pytest.raises(ValueError, match="soft"):
        Leaky(beta=0.9, threshold=1.0, reset="soft")


@pytest.mark.parametrize(
    ("reset", "expected"),
    [
        # Input 1.5 twice, decay 0.5, threshold 1: the first step gives v = 1.5 and a spike.
        ("subtract", 0.5 * 1.5 + 1.5 - 1.0),
        ("zero", 1.5),
        ("zero_and_input", 0.0),
        ("none", 0.5 * 1.5 + 1.5),
    ],
)
def test_resets(reset, expected):
    currents = torch.full((2, 1, 1), 1.5)
    _, state = scan_lif(
        currents, None, LIFParameters(0.5), rest(1, 1), surrogate=fast_sigmoid(), reset=reset
    )
    assert state.v.item() == pytest.approx(expected)


@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
def test_lif_equals_snntorch_with_gradients(reset):
    torch.manual_seed(0)
    currents = torch.randn(40, 3, 5) * 0.6
    weights = torch.randn(40, 3, 5)
    leaky = snntorch.Leaky(
        beta=0.8,
        threshold=0.7,
        spike_grad=snntorch.surrogate.fast_sigmoid(slope=10),
        reset_mechanism=reset,
    )
    theirs_in = currents.clone().requires_grad_()
    mem, theirs = leaky.init_leaky(), []
    for current in theirs_in:
        z, mem = leaky(current, mem)
        theirs.append(z)
    theirs = torch.stack(theirs)
    (theirs * weights).sum().backward()

    ours_in = currents.clone().requires_grad_()
    ours, _ = scan_lif(
        ours_in,
        None,
        LIFParameters(0.8, 0.7),
        rest(3, 5),
        surrogate=fast_sigmoid(10.0),
        reset=reset,
    )
    (ours * weights).sum().backward()
    assert ours.sum() > 10
    assert torch.equal(ours, theirs)
    torch.testing.assert_close(ours_in.grad, theirs_in.grad, rtol=0, atol=1e-5)


def test_recurrence_delivers_the_spikes_of_the_last_step():
    # Unit 0 is driven over its threshold at step 0 only and excites unit 1 with weight 2.
    currents = torch.zeros(3, 1, 2)
    currents[0, 0, 0] = 1.5
    recurrent = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    z, _ = scan_lif(currents, recurrent, LIFParameters(0.1), rest(1, 2), surrogate=triangle())
    assert z[:, 0].tolist() == [[1, 0], [0, 1], [0, 0]]


def test_fixed_point_membranes_lie_on_the_grid():
    torch.manual_seed(0)
    _, state = scan_lif(
        torch.randn(20, 2, 3),
        None,
        LIFParameters(0.9),
        rest(2, 3),
        surrogate=triangle(),
        fixed_point=(1, 4),
    )
    assert torch.equal(state.v * 16, (state.v * 16).round())
    assert state.v.abs().max() <= 2


def test_current_lif_below_threshold_is_the_closed_form():
    """One input pulse: v follows the difference of two exponentials, two steps later."""
    mem, syn, steps = 0.9, 0.7, 25
    currents = torch.zeros(steps, 1, 1)
    currents[0] = 0.5
    parameters = CurrentParameters(torch.tensor([mem]), torch.tensor([syn]))
    zero = torch.zeros(1, 1)
    state = CurrentState(zero, zero, zero)
    membranes, _ = scan_current_integrator(currents, parameters, state)
    closed = [
        0.5 * (1 - mem) * (mem ** (t - 1) - syn ** (t - 1)) / (mem - syn) if t >= 2 else 0.0
        for t in range(steps)
    ]
    torch.testing.assert_close(membranes[:, 0, 0], torch.tensor(closed))
    weights = CurrentWeights(torch.ones(1, 1), torch.zeros(1, 1), torch.ones(2, 1))
    z, out, last = scan_current_lif(currents, weights, parameters, state, surrogate=fast_sigmoid())
    assert z.sum() == out.sum() == 0
    assert last.v.item() == pytest.approx(closed[-1], abs=1e-6)


def test_current_lif_spikes_once_and_resets_to_zero():
    parameters = CurrentParameters(torch.tensor([0.5]), torch.tensor([0.0]))
    zero = torch.zeros(1, 1)
    state = CurrentState(zero + 1.2, zero, zero)
    weights = CurrentWeights(torch.zeros(1, 1), torch.zeros(1, 1), torch.tensor([[3.0]]))
    z, out, state = scan_current_lif(
        torch.zeros(2, 1, 1), weights, parameters, state, surrogate=fast_sigmoid()
    )
    assert z.flatten().tolist() == [1, 0]
    assert out.flatten().tolist() == [3, 0]
    assert state.v.item() == 0


def test_integrator_is_a_geometric_sum():
    membranes, last = scan_integrator(torch.ones(30, 2, 3), 0.9, torch.zeros(2, 3))
    expected = torch.tensor([(1 - 0.9 ** (t + 1)) / (1 - 0.9) for t in range(30)])
    torch.testing.assert_close(membranes[:, 1, 2], expected)
    assert torch.equal(last, membranes[-1])


@settings(max_examples=20, deadline=None)
@given(probability=st.floats(0, 0.95), seed=st.integers(0, 2**31))
def test_dropout_keeps_the_stated_fraction_and_the_mean(probability, seed):
    torch.manual_seed(seed)
    shape = (40, 50, 21)
    dropout = draw_dropout(shape, probability, torch.device("cpu"))
    kept = dropout.keep.float()
    count = kept.numel()
    deviation = math.sqrt(probability * (1 - probability) / count)
    assert abs(kept.mean().item() - (1 - probability)) <= 6 * deviation + 2**-16
    assert dropout.scale == pytest.approx(1 / (1 - probability), rel=1e-3)
    # Neighbours share a random word, but not their fate.
    both = (kept.flatten()[:-1] * kept.flatten()[1:]).mean().item()
    assert abs(both - (1 - probability) ** 2) <= 6 * math.sqrt(3 / count)


def test_dropout_refuses_impossible_probabilities():
    for probability in (-0.1, 1.0):
        with pytest.raises(ValueError, match="dropout"):
            draw_dropout((3,), probability, torch.device("cpu"))


def test_spikes_module_is_the_identity():
    z = torch.tensor([0.0, 1.0])
    assert Spikes()(z) is z


def differentiated(run, tensors, draw):
    """Outputs of ``run`` and gradients of all ``tensors`` for a random loss on every output."""
    leaves = {name: t.clone().requires_grad_() for name, t in tensors.items()}
    outputs = run(leaves)
    generator = torch.Generator().manual_seed(draw)
    loss = sum((o * torch.randn(o.shape, generator=generator)).sum() for o in outputs)
    loss.backward()
    gradients = {name: leaf.grad for name, leaf in leaves.items()}
    return [o.detach() for o in outputs], gradients


def assert_backends_agree(run, tensors, *, spikes):
    expected, gradients = differentiated(lambda leaves: run(leaves, "reference"), tensors, 5)
    outputs, ours = differentiated(lambda leaves: run(leaves, "cpu"), tensors, 5)
    if spikes:
        assert 0.01 < expected[0].mean() < 0.6
        assert torch.equal(outputs[0], expected[0])
    for ours_out, expected_out in zip(outputs, expected, strict=True):
        torch.testing.assert_close(ours_out, expected_out, rtol=1e-5, atol=1e-5)
    for name, gradient in gradients.items():
        if gradient is None:
            assert ours[name] is None or not ours[name].any(), name
            continue
        scale = max(1.0, gradient.abs().max().item())
        torch.testing.assert_close(
            ours[name] / scale, gradient / scale, rtol=0, atol=1e-5, msg=lambda m, n=name: n + m
        )


def lif_case(steps, batch, units, recurrent, seed=0):
    g = torch.Generator().manual_seed(seed)
    tensors = {
        "currents": torch.randn(steps, batch, units, generator=g) * 0.7,
        "decay": torch.rand(units, generator=g) * 0.4 + 0.5,
        "v": torch.randn(batch, units, generator=g) * 0.5,
        "z": (torch.rand(batch, units, generator=g) < 0.2).float(),
    }
    if recurrent:
        tensors["recurrent"] = torch.randn(units, units, generator=g) / units**0.5
    return tensors


SURROGATES = {"rational": fast_sigmoid(5.0), "triangle": triangle(0.3), "arctan": arctan(2.0)}


@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("reset", ["subtract", "zero", "zero_and_input", "none"])
@pytest.mark.parametrize("recurrent", [True, False])
@pytest.mark.parametrize("fixed_point", [None, (1, 4)])
def test_compiled_lif_equals_the_reference(surrogate, reset, recurrent, fixed_point):
    def run(t, backend):
        z, state = scan_lif(
            t["currents"],
            t.get("recurrent"),
            LIFParameters(t["decay"], 0.75),
            LIFState(t["v"], t["z"]),
            surrogate=SURROGATES[surrogate],
            reset=reset,
            fixed_point=fixed_point,
            backend=backend,
        )
        return z, *state

    assert_backends_agree(run, lif_case(20, 70, 9, recurrent), spikes=True)


@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("probability", [0.0, 0.3])
@pytest.mark.parametrize("kind", [torch.uint8, torch.bool, torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("steps", "batch", "inputs", "units"),
    [(70, 5, 7, 13), (32, 70, 7, 8), (1, 1, 7, 1), (20, 5, 96, 150)],
)
def test_compiled_current_lif_equals_the_reference(
    surrogate, probability, kind, steps, batch, inputs, units
):
    g = torch.Generator().manual_seed(1)
    shape = (steps, batch, units)
    x = (torch.rand(steps, batch, inputs, generator=g) < 0.3).to(kind)
    if kind.is_floating_point:
        x *= torch.randn(x.shape, generator=g)
    torch.manual_seed(2)
    dropout = None, None
    if probability:
        dropout = [draw_dropout(s, probability, torch.device("cpu")) for s in (x.shape, shape)]
    tensors = {
        "input": torch.randn(units, inputs, generator=g) * (7 / inputs) ** 0.5,
        "recurrent": torch.randn(units, units, generator=g) / units**0.5,
        "output": torch.randn(3, units, generator=g),
        "mem": torch.rand(units, generator=g) * 0.3 + 0.6,
        "syn": torch.rand(units, generator=g) * 0.3 + 0.6,
        "v": torch.randn(batch, units, generator=g) + 0.3,
        "i": torch.randn(batch, units, generator=g),
        "arriving": torch.randn(batch, units, generator=g),
    }

    def run(t, backend):
        z, out, state = scan_current_lif(
            x,
            CurrentWeights(t["input"], t["recurrent"], t["output"]),
            CurrentParameters(t["mem"], t["syn"]),
            CurrentState(t["v"], t["i"], t["arriving"]),
            surrogate=SURROGATES[surrogate],
            dropout=dropout,
            backend=backend,
        )
        return z, out, *state

    assert_backends_agree(run, tensors, spikes=steps > 1)


@pytest.mark.parametrize("term", [lambda z: z.sum(0).square().mean(), lambda z: z.mean()])
def test_gradients_of_spike_sums_equal_the_reference(term):
    """Sums over time reach the scan as one row of gradients for all steps."""
    torch.manual_seed(0)
    x, zeros = (torch.rand(50, 6, 9) < 0.3).byte(), torch.zeros(6, 5)
    weights = [torch.randn(5, 9), torch.randn(5, 5) * 0.3, torch.randn(2, 5)]
    gradients = []
    for backend in ("reference", "cpu"):
        leaves = CurrentWeights(*(w.clone().requires_grad_() for w in weights))
        z, _, _ = scan_current_lif(
            x,
            leaves,
            CurrentParameters(torch.full((5,), 0.8), torch.full((5,), 0.7)),
            CurrentState(zeros, zeros, zeros),
            surrogate=fast_sigmoid(5.0),
            backend=backend,
        )
        term(z).backward()
        gradients.append(torch.cat([leaves.input.grad, leaves.recurrent.grad], 1))
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("steps", "batch", "units"), [(40, 70, 2), (1, 1, 3)])
def test_compiled_integrators_equal_the_reference(steps, batch, units):
    g = torch.Generator().manual_seed(3)
    tensors = {
        "currents": torch.randn(steps, batch, units, generator=g),
        "mem": torch.rand(units, generator=g) * 0.3 + 0.6,
        "syn": torch.rand(units, generator=g) * 0.3 + 0.6,
        "v": torch.randn(batch, units, generator=g),
        "i": torch.randn(batch, units, generator=g),
        "arriving": torch.randn(batch, units, generator=g),
    }

    def two_stages(t, backend):
        state = CurrentState(t["v"], t["i"], t["arriving"])
        membranes, state = scan_current_integrator(
            t["currents"], CurrentParameters(t["mem"], t["syn"]), state, backend=backend
        )
        return membranes, *state

    def one_stage(t, backend):
        return scan_integrator(t["currents"], t["mem"], t["v"], backend=backend)

    assert_backends_agree(two_stages, tensors, spikes=False)
    assert_backends_agree(
        one_stage, {k: tensors[k] for k in ("currents", "mem", "v")}, spikes=False
    )


def test_compiled_gradients_do_not_depend_on_threads():
    tensors = lif_case(30, 100, 12, recurrent=True)

    def run(t):
        state = LIFState(t["v"], t["z"])
        z, state = scan_lif(
            t["currents"],
            t["recurrent"],
            LIFParameters(t["decay"]),
            state,
            surrogate=triangle(),
            backend="cpu",
        )
        return z, *state

    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(differentiated(run, tensors, 7))
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
    threshold = torch.tensor(0.5, requires_grad=True)
    z, _ = scan_lif(
        torch.ones(2, 1, 3), None, LIFParameters(0.9, threshold), rest(1, 3), surrogate=triangle()
    )
    z.sum().backward()
    assert threshold.grad.abs() > 0
