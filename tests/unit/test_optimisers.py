"""SMORMS3 against the published update rule, schedules against PyTorch's."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikereach.training.optimisers import SMORMS3, build, learning_rate
from training_cases import stage

VALUES = st.floats(-10, 10, allow_nan=False, width=32)


def smorms3_scalar(value, gradients, lr, eps=1e-16):
    """S. Funk's rule for one number, in double precision."""
    memory, mean, square = 1.0, 0.0, 0.0
    for gradient in gradients:
        r = 1 / (memory + 1)
        mean = (1 - r) * mean + r * gradient
        square = (1 - r) * square + r * gradient**2
        x = mean**2 / (square + eps)
        value -= gradient * min(lr, x) / (np.sqrt(square) + eps)
        memory = 1 + memory * (1 - x)
    return value


@settings(max_examples=50, deadline=None)
@given(
    start=VALUES,
    gradients=st.lists(VALUES, min_size=1, max_size=20),
    lr=st.floats(1e-4, 2.0),
)
def test_smorms3_follows_the_published_rule(start, gradients, lr):
    parameter = torch.nn.Parameter(torch.tensor([start], dtype=torch.float64))
    optimiser = SMORMS3([parameter], lr=lr)
    for gradient in gradients:
        parameter.grad = torch.tensor([gradient], dtype=torch.float64)
        optimiser.step()
    assert parameter.item() == pytest.approx(smorms3_scalar(start, gradients, lr), rel=1e-9)


def test_first_step_of_smorms3_in_closed_form():
    # r = 1/2, so that mean^2 / mean square = 1/2 whatever the gradient: a step of lr * sqrt(2).
    parameter = torch.nn.Parameter(torch.zeros(3))
    parameter.grad = torch.tensor([-5.0, 1e-3, 7e4])
    SMORMS3([parameter], lr=0.1).step()
    step = 0.1 * np.sqrt(2)
    assert parameter.tolist() == pytest.approx([step, -step, -step], rel=1e-6)


def test_smorms3_minimises_a_badly_scaled_quadratic():
    parameter = torch.nn.Parameter(torch.tensor([5.0, 5.0]))
    optimiser = SMORMS3([parameter], lr=0.1)
    scales = torch.tensor([1e3, 1e-3])
    for _ in range(500):
        optimiser.zero_grad()
        (scales * parameter.square()).sum().backward()
        optimiser.step()
    assert parameter.abs().max() < 1e-2


def test_weight_decay_is_the_gradient_of_a_square():
    decayed, explicit = (torch.nn.Parameter(torch.tensor([2.0, -3.0])) for _ in range(2))
    first = SMORMS3([decayed], lr=0.01, weight_decay=0.5)
    second = SMORMS3([explicit], lr=0.01)
    for _ in range(5):
        for parameter, optimiser, factor in ((decayed, first, 0.0), (explicit, second, 0.25)):
            optimiser.zero_grad()
            (parameter.sum() + factor * parameter.square().sum()).backward()
            optimiser.step()
    torch.testing.assert_close(decayed, explicit)


def test_state_survives_a_state_dict():
    one, two = (torch.nn.Parameter(torch.ones(4)) for _ in range(2))
    first, second = SMORMS3([one]), SMORMS3([two])
    one.grad = torch.arange(4.0)
    first.step()
    two.data.copy_(one.data)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for parameter, optimiser in ((one, first), (two, second)):
        parameter.grad = torch.ones(4)
        optimiser.step()
    assert torch.equal(one, two)


@pytest.mark.parametrize("name", ["adam", "adamw", "smorms3"])
def test_build_passes_the_recipe_on(name):
    recipe = stage(optimiser=name, learning_rate=0.03, weight_decay=0.2)
    optimiser = build(recipe, [torch.nn.Parameter(torch.ones(1))])
    assert type(optimiser).__name__.lower() == name
    assert optimiser.defaults["lr"] == 0.03
    assert optimiser.defaults["weight_decay"] == 0.2


def test_cosine_is_pytorchs_and_ends_at_zero():
    recipe = stage(schedule="cosine", epochs=7, learning_rate=0.5)
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.5)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=7)
    for epoch in range(8):
        assert learning_rate(recipe, epoch) == pytest.approx(schedule.get_last_lr()[0], abs=1e-12)
        optimiser.step()
        schedule.step()
    assert learning_rate(recipe, 7) == pytest.approx(0.0, abs=1e-12)
    assert learning_rate(stage(schedule="constant", learning_rate=0.5), 5) == 0.5
