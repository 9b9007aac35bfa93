"""What no other one surpasses, against its definition, and hypervolumes against counted cells."""

import math

from hypothesis import given
from hypothesis import strategies as st

from spikereach.reporting.dominance import hypervolume, non_dominated, pareto_front

MOST = 6


@given(
    st.lists(
        st.tuples(st.integers(0, 5) | st.just(math.nan), st.integers(0, 5)), min_size=1, max_size=9
    )
)
def test_no_point_surpasses_the_pareto_front(points):
    costs, scores = map(list, zip(*points, strict=True))
    front = pareto_front(costs, scores)

    def surpassed(n):
        return any(
            (cost <= costs[n] and score > scores[n]) or (cost < costs[n] and score >= scores[n])
            for cost, score in points
        )

    known = [n for n in range(len(points)) if not math.isnan(costs[n])]
    assert {points[n] for n in front} == {points[n] for n in known if not surpassed(n)}
    assert [costs[n] for n in front] == sorted({costs[n] for n in front})


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=9))
def test_the_non_dominated_by_their_definition(rows):
    def dominates(other, row):
        return other != row and all(a <= b for a, b in zip(other, row, strict=True))

    assert non_dominated(rows) == [not any(dominates(o, row) for o in rows) for row in rows]


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(-2, 6)), min_size=1, max_size=9))
def test_hypervolume_against_counted_cells(points):
    """Of the unit cells right of a cost and below a score, up to the reference."""
    cells = {(x, y) for cost, score in points for x in range(cost, MOST) for y in range(score)}
    costs, scores = zip(*points, strict=True)
    assert hypervolume(costs, scores, (MOST, 0)) == len(cells)
