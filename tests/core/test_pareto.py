"""The Pareto front against its definition."""

from __future__ import annotations

import random

import pytest

from genlab.core.pareto import pareto_front


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_the_front_is_that_of_the_definition_ties_included(dimensions: int) -> None:
    chance = random.Random(0)
    for _ in range(200):
        # Few values, so that most sets hold equal points and points that are equal in one coordinate.
        points = [tuple(chance.randint(0, 4) for _ in range(dimensions)) for _ in range(chance.randint(0, 9))]
        beaten = {
            index
            for index, point in enumerate(points)
            if any(other != point and all(map(int.__le__, other, point)) for other in points)
        }
        front = pareto_front(points)
        assert len(front) == len(set(front))
        assert set(front) == set(range(len(points))) - beaten
        assert front == sorted(front, key=lambda index: (points[index], index))


def test_equal_points_are_on_the_front_together() -> None:
    assert pareto_front([(2.0, 1.0), (1.0, 2.0), (2.0, 1.0), (2.0, 2.0)]) == [1, 0, 2]
