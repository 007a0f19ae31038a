"""Labels that find no room: shortened where they are alike, never where they differ."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["tell_apart"]


def tell_apart(labels: Sequence[str], longest: int) -> list[str]:
    """Shorten labels to so many characters, an ellipsis in the place of what they share.

    The first word stays where it finds room, since it names the model. Labels that are alike stay so; of those that
    differ in more places than there is room for, the first place that tells a label from the one most like it is kept.

    Args:
        labels: Any texts.
        longest: Most characters of each.
    """
    unlike = sorted(set(labels))
    short = {label: _shortened(label, _differs_at(unlike, index), longest) for index, label in enumerate(unlike)}
    return [short[label] for label in labels]


def _differs_at(ordered: Sequence[str], index: int) -> int:
    """Return where a label first differs from the one most like it, which is a neighbour in their order."""
    beside = [ordered[place] for place in (index - 1, index + 1) if 0 <= place < len(ordered)]
    return max((_length_alike(ordered[index], other) for other in beside), default=0)


def _length_alike(first: str, second: str) -> int:
    differing = (place for place, (a, b) in enumerate(zip(first, second, strict=False)) if a != b)
    return next(differing, min(len(first), len(second)))


def _shortened(label: str, differs_at: int, longest: int) -> str:
    if len(label) <= longest:
        return label
    head = label.split(" ", 1)[0]
    if differs_at <= len(head) or len(head) + 2 > longest // 2:
        head = ""
    room = longest - len(head) - 1
    # From the earliest word from which all finds room; else from the one that differs, or from where it does.
    words = [0, *(place + 1 for place, letter in enumerate(label[:differs_at]) if letter in " .")]
    start = next((place for place in words if len(label) - place <= room), words[-1])
    start = max(start, min(differs_at - room // 2, len(label) - room))
    if start == 0:
        return f"{label[:room]}…"
    rest = label[start:]
    return f"{head}…{rest}" if len(rest) <= room else f"{head}…{rest[: room - 1]}…"
