"""Neurons against closed forms and snnTorch."""

import math

import pytest
import snntorch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from operations import Layer, silent

from spikereach.models.leaky import Leaky
from spikereach.ops.common.dropout import draw_dropout
from spikereach.ops.common.spikes import Spikes
from spikereach.ops.common.surrogates import Surrogate, arctan, fast_sigmoid, spike, triangle
from spikereach.ops.current_lif import scan_current_lif
from spikereach.ops.current_lif.step import CurrentLayers, CurrentParameters, CurrentState
from spikereach.ops.integrator import scan_current_integrator, scan_integrator
from spikereach.ops.lif import scan_lif
from spikereach.ops.lif.step import LIFParameters, lif_step


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
            silent(1, 1),
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
        currents, None, LIFParameters(0.5), silent(1, 1), surrogate=fast_sigmoid(), reset=reset
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
        silent(3, 5),
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
    recurrent = Layer(torch.tensor([[0.0, 0.0], [2.0, 0.0]]))
    z, _ = scan_lif(currents, recurrent, LIFParameters(0.1), silent(1, 2), surrogate=triangle())
    assert z[:, 0].tolist() == [[1, 0], [0, 1], [0, 0]]


def test_fixed_point_membranes_lie_on_the_grid():
    torch.manual_seed(0)
    _, state = scan_lif(
        torch.randn(20, 2, 3),
        None,
        LIFParameters(0.9),
        silent(2, 3),
        surrogate=triangle(),
        fixed_point=(1, 4),
    )
    assert torch.equal(state.v * 16, (state.v * 16).round())
    assert state.v.abs().max() <= 2


def layers_of(*weights):
    return CurrentLayers(*(Layer(torch.tensor(weight)) for weight in weights))


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
    layers = layers_of([[1.0]], [[0.0]], [[1.0], [1.0]])
    z, out, last = scan_current_lif(currents, layers, parameters, state, surrogate=fast_sigmoid())
    assert z.sum() == out.sum() == 0
    assert last.v.item() == pytest.approx(closed[-1], abs=1e-6)


def test_current_lif_spikes_once_and_resets_to_zero():
    parameters = CurrentParameters(torch.tensor([0.5]), torch.tensor([0.0]))
    zero = torch.zeros(1, 1)
    state = CurrentState(zero + 1.2, zero, zero)
    layers = layers_of([[0.0]], [[0.0]], [[3.0]])
    z, out, state = scan_current_lif(
        torch.zeros(2, 1, 1), layers, parameters, state, surrogate=fast_sigmoid()
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
