"""The loop: user, brain, decoder and cursor, bin by bin."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from spikereach.closed_loop.brain import EXECUTION_S, Brain, Feedback
from spikereach.closed_loop.task import Rules, Task, Trial
from spikereach.closed_loop.user import Habits, User
from spikereach.data.matfile import STEP_S
from spikereach.data.population import Population
from spikereach.data.synthetic import GRID, SPACING_MM, random_stream, smooth_noise

Decode = Callable[[np.ndarray], np.ndarray]
"""From the spikes (C,) of a bin to the cursor's velocity (2,) in mm per step."""

RULES, HABITS = Rules(), Habits()
EDGE_MM = GRID * SPACING_MM / 2 + SPACING_MM
"""The cursor stays within this of the centre: one target more than the grid."""


@dataclass(frozen=True, eq=False)
class Played:
    """What happened, for T steps; positions in mm, velocities in mm/s."""

    trials: Sequence[Trial]
    target: np.ndarray
    """(T, 2)"""
    cursor: np.ndarray
    """(T, 2)"""
    wanted: np.ndarray
    """(T, 2)"""
    decoded: np.ndarray
    """(T, 2), as it moves the cursor."""
    spikes: np.ndarray
    """(T, C) uint8"""


def play(
    population: Population,
    decode: Decode | None,
    *,
    lookahead: int = 0,
    added_delay: int = 0,
    feedback: Feedback = "moving",
    rules: Rules = RULES,
    habits: Habits = HABITS,
    seed: int = 0,
) -> Played:
    """Trials of a user with a decoder.

    Everything random depends on the seed and the number of trials alone: decoders meet the same
    targets and the same noise.

    Args:
        population: of the session that the decoder was trained on.
        decode: begins anew; None: the arm itself moves the cursor.
        lookahead: steps by which the decoder's output comes late, which the user knows.
        added_delay: further such steps.
        feedback: what S1 hears of.
        rules: of the task.
        habits: of the user.
        seed: any integer.
    """
    origin = np.zeros(2)
    execution = round(EXECUTION_S / STEP_S)
    streams = (random_stream("closed loop", part, seed) for part in ("task", "user", "brain"))
    for_task, for_user, for_brain = streams
    noise = smooth_noise((2, rules.steps), habits.noise_s, for_user).T
    task = Task(rules, for_task, origin)
    user = User(habits, execution + lookahead + added_delay, noise)
    brain = Brain(population, feedback, rules.steps, for_brain)
    waiting = deque([origin] * added_delay)
    arm = deque([origin] * execution)
    unseen = round(habits.visual_delay_s / STEP_S)
    # At each step the target, the cursor, and how it got there.
    screen = deque([(origin, origin, origin)] * unseen, unseen + 1)
    screen.append((task.target, origin, origin))
    cursor, kept = origin, []
    while not task.over:
        # What is on the screen acts on the user a visual delay later: what they want until then
        # is settled.
        targets, cursors, velocities = map(np.array, zip(*screen, strict=True))
        ahead = slice(rules.steps - len(kept))
        wanted, believed = user(targets[ahead], cursors[ahead])
        for now, spikes in zip(wanted, brain(wanted, believed, velocities[ahead]), strict=True):
            arm.append(now)
            moved = arm.popleft() if decode is None else decode(spikes) / STEP_S
            waiting.append(moved)
            decoded = waiting.popleft()
            before, cursor = cursor, (cursor + decoded * STEP_S).clip(-EDGE_MM, EDGE_MM)
            kept.append((task.target, cursor, now, decoded, spikes))
            task(cursor)
            screen.append((task.target, cursor, (cursor - before) / STEP_S))
            if task.over:
                break
    return Played(task.trials, *(np.array(part) for part in zip(*kept, strict=True)))
