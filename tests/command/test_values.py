"""Which values fit which annotations, and how annotations are said in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt, Interval, Le, Lt

from genlab.command.values import describe, fits, hint


@pytest.mark.parametrize(
    ("value", "annotation", "fit"),
    [
        (1, float, True),
        (1.0, int, False),
        (True, int, False),
        (1, bool, False),
        (None, int | None, True),
        (0.5, Annotated[float, Gt(0), Lt(0.5)], False),
        (0.49, Annotated[float, Gt(0), Lt(0.5)], True),
        (3, Annotated[int, Interval(ge=1, le=2)], False),
        (1, Annotated[float, Le(1)] | None, True),
        (1.01, Annotated[float, Le(1)] | None, False),
        ([0.9, 0.99], tuple[float, float], True),
        ([0.9], tuple[float, float], False),
        ([1, 2, 3], tuple[int, ...], True),
        (["a"], Sequence[int], False),
        ("ab", Sequence[str], False),
        ("data", Path, True),
        (3, str | Path, False),
        ({"a": 1}, dict[str, int], True),
        ({"a": "b"}, dict[str, int], False),
        ("x", Callable[..., int], False),
        ({"_target_": "x"}, Callable[..., int], True),
        ({"_target_": "x"}, str, False),
        ("x", "a name that cannot be looked up", True),
    ],
)
def test_which_values_fit_which_annotations(value: Any, annotation: Any, fit: bool) -> None:
    assert fits(value, annotation) is fit


def test_words_for_annotations() -> None:
    assert describe(Annotated[int, Ge(1)] | None) == "a whole number >= 1 or null"
    assert describe(Literal["a", "b", "c"]) == "a, b or c"
    assert describe(tuple[float, float]) == "a list of 2: a number, a number"
    assert describe(str | Path) == "text or a path"
    assert hint("3", str) == ""
    assert hint(1e5, int | None) == " Write 100000."
