"""What trainings ask a scheduler for."""

import pytest

from spikereach import demand
from spikereach.config import Half, Prune, Stage


@pytest.fixture
def stage():
    return Stage(
        epochs=10,
        batch=32,
        window=1000,
        stride=250,
        optimiser="adam",
        learning_rate=1e-3,
        schedule="constant",
        loss="mse",
    )


def test_steps_are_those_of_all_windows(stage):
    """550,000 steps hold 2,200 windows at this stride."""
    assert demand.window_steps(stage) == 10 * 2200 * 1000
    assert demand.window_steps(stage, sessions=3) == 3 * demand.window_steps(stage)
    drawn = stage.model_copy(update={"updates_per_epoch": 5})
    assert demand.window_steps(drawn, sessions=3) == 10 * 5 * 32 * 1000


def test_time_has_a_limit(stage):
    assert demand.minutes([], 1, "cpu") == demand.SETUP_MIN
    once = demand.minutes([stage], 1, "cpu")
    assert demand.SETUP_MIN < demand.minutes([stage], 1, "cuda") < once
    assert demand.minutes([stage] * 2, 1, "cpu") == pytest.approx(2 * once - 15, abs=1)
    assert demand.minutes([stage] * 1000, 1, "cpu") == demand.LIMIT_MIN


def test_memory_is_that_of_the_largest_batch(stage):
    small, large = stage, stage.model_copy(update={"batch": 320})
    asked = [demand.memory_mb(stages, 9.0, "cpu") for stages in ([], [small], [small, large])]
    assert asked[1] - asked[0] == pytest.approx(32_000 * 6 / 1000, abs=1)
    assert asked[2] - asked[0] == pytest.approx(320_000 * 6 / 1000, abs=1)
    assert demand.memory_mb([small], 19.0, "cpu") - asked[1] == 250
    assert demand.memory_mb([large], 9.0, "cuda") == demand.memory_mb([], 9.0, "cuda")


@pytest.mark.parametrize(
    ("start", "step", "fine", "stop", "rounds"),
    [(0.4, 0.1, 0.05, 0.8, 7), (0.5, 0.0, 0.0, 0.5, 1)],
)
def test_rounds_of_pruning(stage, start, step, fine, stop, rounds):
    prune = Prune(
        kind="prune", start=start, step=step, fine_step=fine, stop=stop, max_drop=0.02,
        retrain=stage,
    )  # fmt: skip

    class System:
        compression = (prune, Half(kind="half"))

    assert demand.stages_of(System) == [stage] * rounds
