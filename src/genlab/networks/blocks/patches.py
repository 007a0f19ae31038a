"""Squares of pixels that a network takes as one place."""

from __future__ import annotations

from genlab.core.errors import GenlabError

__all__ = ["patch_grid"]


def patch_grid(height: int, width: int, patch: int) -> tuple[int, int]:
    """Return the rows and columns of patches in an image.

    Args:
        height: Rows of pixels.
        width: Columns of pixels.
        patch: Side of a patch in pixels.

    Raises:
        GenlabError: If the sides are no multiples of ``patch``.
    """
    if height % patch or width % patch:
        divisors = [size for size in range(1, 9) if height % size == 0 and width % size == 0]
        raise GenlabError(
            f"patch is {patch}, but images are {height} x {width}: expected a divisor of both sides, "
            f"such as {', '.join(map(str, divisors))}."
        )
    return height // patch, width // patch
