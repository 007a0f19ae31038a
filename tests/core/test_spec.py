"""What is said of the columns of a table fits together."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter

from genlab.core.spec import DataSpec, Field


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"categories": ("a", "b")}, "has categories or marks, but no levels"),
        ({"marks": "b"}, "has categories or marks, but no levels"),
        ({"rounded": True}, "is rounded, expected decimals from 0 to 10"),
        ({"rounded": True, "decimals": 11}, "is rounded, expected decimals from 0 to 10"),
        ({"levels": 1}, "has 1 levels"),
        ({"levels": 3, "categories": ("a", "b")}, "has 3 levels and 2 categories"),
        ({"levels": 2, "decimals": 1}, "has levels: it is not of numbers"),
    ],
)
def test_a_column_is_of_numbers_or_of_categories(given: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Field("a", **given)


def test_what_a_table_needs_is_what_its_columns_are() -> None:
    def needs(*fields: Field) -> frozenset[str]:
        return DataSpec("t", "table", (len(fields),), fields=fields).needs

    assert needs(Field("a"), Field("b", decimals=2)) == frozenset()
    assert needs(Field("a"), Field("b", decimals=2, rounded=True)) == {"cells"}
    assert needs(Field("a", levels=2), Field("b")) == {"fields"}
    assert Field("a", decimals=2, rounded=True).step == 0.01
    assert Field("a", decimals=2).step is None


def test_names_of_classes_tell_no_descriptions_apart() -> None:
    """An export from before they were kept is of the same data."""
    named = DataSpec("a", "table", (1,), num_classes=2, fields=(Field("x"),), label=Field("y", 2, ("no", "yes")))
    kept = TypeAdapter(DataSpec)
    before = {key: value for key, value in kept.dump_python(named).items() if key != "label"}
    assert kept.validate_python(before) == named
    assert kept.validate_json(kept.dump_json(named)).label == named.label
