"""What trainings ask a scheduler for."""

from types import SimpleNamespace

import numpy as np
import pytest

from spikereach.compression import prune
from spikereach.config import Prune, Stage
from spikereach.workflow import demand
from training_cases import TinyGRU


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
    ("start", "step", "fine_step", "stop"),
    [(0.4, 0.1, 0.05, 0.8), (0.4, 0.1, 0.05, 0.95), (0.5, 0.0, 0.0, 0.5), (0.2, 0.2, 0.05, 0.9)],
)
def test_pruning_retrains_as_often_as_it_may_take(stage, start, step, fine_step, stop):
    """Over all sparsities from which on it may go too far."""
    recipe = Prune(
        kind="prune",
        start=start,
        step=step,
        fine_step=fine_step,
        stop=stop,
        max_drop=0.1,
        retrain=stage,
    )

    def retrainings(limit: float) -> int:
        tried = []
        decoder = TinyGRU(channels=2)
        run = SimpleNamespace(decoder=decoder, mask={}, name="a", train_r2=1.0)

        def retrain(stage: Stage, sparsity: float) -> None:
            tried.append(sparsity)
            run.train_r2 = 0.0 if sparsity > limit else 1.0

        run.retrain = retrain
        prune.apply(run, recipe)
        return len(tried)

    most = max(retrainings(limit) for limit in np.arange(0, 1.01, 0.01))
    assert recipe.retrainings == [stage] * most
