"""R2 and the counting rules, against closed forms."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn

from spikereach.evaluation import metrics
from spikereach.evaluation.errors import EvaluationError
from spikereach.models.passes import PassError
from spikereach.ops.common.record import LayerCalls
from stand_ins import Straight, Windowed

velocities = arrays(
    np.float32,
    st.tuples(st.integers(3, 40), st.just(2)),
    elements=st.floats(-10, 10, width=32),
).filter(lambda values: (values.std(axis=0) > 0.1).all())


@settings(max_examples=50, deadline=None)
@given(velocities)
def test_perfect_predictions_score_one(true):
    assert metrics.r2(true, true) == 1.0


@settings(max_examples=50, deadline=None)
@given(velocities)
def test_the_mean_scores_zero(true):
    mean = np.broadcast_to(true.astype(np.float64).mean(axis=0), true.shape).astype(np.float32)
    assert metrics.r2(mean, true) == pytest.approx(0, abs=1e-4)


@settings(max_examples=50, deadline=None)
@given(velocities, st.integers(0, 2**32 - 1))
def test_r2_is_the_textbook_formula(true, seed):
    pred = true + np.random.default_rng(seed).normal(size=true.shape).astype(np.float32)
    wide, truth = pred.astype(np.float64), true.astype(np.float64)
    expected = 1 - ((truth - wide) ** 2).sum(axis=0) / ((truth - truth.mean(axis=0)) ** 2).sum(
        axis=0
    )
    assert metrics.r2_axes(pred, true) == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert metrics.r2(pred, true) == pytest.approx(expected.mean(), rel=1e-4, abs=1e-4)


@settings(max_examples=50, deadline=None)
@given(velocities, st.permutations([0, 1]), st.randoms(use_true_random=False))
def test_r2_does_not_depend_on_order_or_unit(true, axes, random):
    pred = true * 0.5 + 0.25
    order = list(range(len(true)))
    random.shuffle(order)
    shuffled = metrics.r2(4 * pred[order][:, axes], 4 * true[order][:, axes])
    assert shuffled == pytest.approx(metrics.r2(pred, true), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(
    ("pred", "true", "message"),
    [
        (np.zeros((4, 2)), np.zeros((4, 2)), "axis x is constant"),
        (np.zeros((4, 2)), np.zeros((3, 2)), r"two arrays \(N, 2\)"),
        (np.zeros((4, 3)), np.zeros((4, 3)), r"two arrays \(N, 2\)"),
        (np.full((4, 2), np.nan), np.eye(4, 2), "predicted velocity is not finite at step 0"),
        (np.eye(4, 2), np.full((4, 2), np.inf), "true velocity is not finite"),
    ],
)
def test_r2_that_means_nothing_is_an_error(pred, true, message):
    with pytest.raises(EvaluationError, match=message):
        metrics.r2(pred.astype(np.float32), true.astype(np.float32))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.floats(0, 1))
def test_operations_are_pairs_of_nonzero_inputs_and_weights(seed, active, present):
    """Counted one by one."""
    generator = torch.Generator().manual_seed(seed)
    layer = nn.Conv1d(3, 4, 3, padding=1)
    with torch.no_grad():
        layer.weight *= torch.rand(layer.weight.shape, generator=generator) < present
    inputs = (torch.rand((1, 1, 3, 6), generator=generator) < active).float()
    expected = sum(
        int(inputs[0, 0, c, p + tap - 1] != 0 and layer.weight[out, c, tap] != 0)
        for out in range(4)
        for c in range(3)
        for tap in range(3)
        for p in range(6)
        if 0 <= p + tap - 1 < 6
    )
    effective, _, dense = metrics.count(LayerCalls(layer, (inputs,)))
    assert effective.tolist() == [expected]
    assert dense == 4 * 3 * (6 + 5 + 5)


def test_unknown_layers_are_named():
    cell = nn.LSTMCell(3, 2)
    with pytest.raises(EvaluationError, match="no exact count for a layer of type LSTMCell"):
        metrics.count(LayerCalls(cell, (torch.zeros(4, 1, 3),)))


def test_calls_that_are_one_for_all_steps_have_one_verdict():
    """One count of two makes a whole layer's operations MACs, in however many pieces."""
    layer = nn.Linear(2, 5)
    tally = metrics.Tally(merge=True)
    for inputs in ([[1.0, 0.0]], [[2.0, 1.0]], [[0.0, 1.0]]):
        tally.add(LayerCalls(layer, (torch.tensor([inputs]),)))
    assert tally.effective() == (20, 0)
    tally = metrics.Tally(merge=False)
    for inputs in ([[1.0, 0.0]], [[2.0, 1.0]], [[0.0, 1.0]]):
        tally.add(LayerCalls(layer, (torch.tensor([inputs]),)))
    assert tally.effective() == (10, 10)


def test_wrong_recordings_are_named():
    decoder = Straight(channels=12)
    velocity = np.eye(20, 2, dtype=np.float32)
    with pytest.raises(PassError, match="reads 12 channels"):
        metrics.measure(decoder, np.ones((20, 13), np.uint8), velocity)
    with pytest.raises(PassError, match=r"15 steps are too few .* whole windows of 16"):
        metrics.measure(Windowed(channels=12), np.ones((15, 12), np.uint8), velocity)


def test_a_decoder_without_connections_has_no_sparsity():
    with pytest.raises(EvaluationError, match="no connection layer"):
        metrics.connection_sparsity(nn.Sequential(nn.ReLU()))
