"""What no other one surpasses, and how much that is."""

from collections.abc import Sequence

import numpy as np
import pandas as pd


def non_dominated(costs: Sequence[Sequence[float]]) -> list[bool]:
    """Whether no other row is at most as costly in every column, and less in one.

    Args:
        costs: (n, k), smaller is better: of a score its negative.
    """
    rows = np.asarray(costs, float).reshape(len(costs), -1)
    return [not ((rows <= row).all(1) & (rows < row).any(1)).any() for row in rows]


def pareto_front(costs: Sequence[float], scores: Sequence[float]) -> list[int]:
    """Places of the points that no other one surpasses in score at no larger cost.

    By cost, the smallest first; of equal points the first. Points without a cost are left out.
    """
    points = pd.DataFrame({"cost": costs, "score": scores}).dropna(subset="cost")
    points = points.sort_values(["cost", "score"], ascending=[True, False])
    before = points["score"].cummax().shift()  # of the first, nothing
    return list(points.index[~(points["score"] <= before)])


def hypervolume(
    costs: Sequence[float], scores: Sequence[float], reference: tuple[float, float]
) -> float:
    """The area that points surpass: of larger cost and of lower score than one of them.

    Args:
        costs: smaller is better.
        scores: larger is better.
        reference: the largest cost and the lowest score that count.
    """
    most, level = reference
    area = 0.0
    for n in pareto_front(costs, scores):  # from the left, each higher than the one before
        if costs[n] < most and scores[n] > level:
            area += (most - costs[n]) * (scores[n] - level)
            level = scores[n]
    return area
