"""The Pareto front of points: those that no other point beats."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["pareto_front"]


def pareto_front(points: Sequence[Sequence[float]]) -> list[int]:
    """Return the indices of the points on the Pareto front, where lower is better in every coordinate.

    A point is on the front unless another is at least as low in every coordinate and lower in one. Equal points
    therefore are on it together, or none of them is.

    Args:
        points: Finite numbers, as many coordinates for each point.

    Returns:
        By rising first coordinate, then the second and so on; equal points in the order in which they are given.
    """
    front: list[int] = []
    # In this order a point can only be beaten by one before it, and then also by one on the front.
    for index in sorted(range(len(points)), key=lambda index: tuple(points[index])):
        if not any(_beats(points[other], points[index]) for other in front):
            front.append(index)
    return front


def _beats(a: Sequence[float], b: Sequence[float]) -> bool:
    return tuple(a) != tuple(b) and all(x <= y for x, y in zip(a, b, strict=True))
