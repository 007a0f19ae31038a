"""Columns of a table: what each is found to hold, and what is said to those from which nothing is learned."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from genlab.core.errors import GenlabError
from genlab.core.spec import Field
from genlab.data.columns import ColumnsConfig, parse_csv
from genlab.data.own import CsvTable
from genlab.data.table_warnings import in_thousands
from tests.data.csv_tables import ROWS, all_rows, cycled, field_of, table, written


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (cycled("3", "1", "2"), Field("other", decimals=0, rounded=True)),
        (cycled("1.50", "2", "-3.25"), Field("other", decimals=2, rounded=True)),
        (cycled("1e3", "2.5E2", "+.5"), Field("other", decimals=1, rounded=True)),
        ([f"{row / 7:.12f}" for row in range(ROWS)], Field("other")),
        ([f"{1e6 * row + 0.5:.1f}" for row in range(ROWS)], Field("other", decimals=1)),
        (cycled("yes", "no"), Field("other", 2, ("no", "yes"))),
        (cycled("0", "1"), Field("other", 2, ("0", "1"))),
        (cycled("True", "False"), Field("other", 2, ("False", "True"))),
        (cycled("10", "9", "x"), Field("other", 3, ("9", "10", "x"))),
        (cycled("a, b", 'say "c"', "ü"), Field("other", 3, ("a, b", 'say "c"', "ü"))),
        (cycled("01234", "90210", "00501"), Field("other", 3, ("00501", "01234", "90210"))),
        (cycled("05", "1.5", "0.25"), Field("other", decimals=2, rounded=True)),
        (cycled("1.2.3", "1.2.10", "2.0"), Field("other", 3, ("2.0", "1.2.10", "1.2.3"))),
        (cycled("May", "June", "July"), Field("other", 3, ("July", "June", "May"))),
        (cycled("$0-10", "20%-30%", "5 doors"), Field("other", 3, ("$0-10", "20%-30%", "5 doors"))),
        (cycled("Q1", "Q2", "Q3"), Field("other", 3, ("Q1", "Q2", "Q3"))),
        (cycled("8012Q1", "8013W05", "x2024Q1"), Field("other", 3, ("8012Q1", "8013W05", "x2024Q1"))),
    ],
    ids=[
        "whole",
        "decimals",
        "exponents",
        "many",
        "large",
        "yes",
        "0-1",
        "bool",
        "mixed",
        "quoted",
        "codes",
        "padded",
        "versions",
        "months",
        "ranges",
        "parts-of-years",
        "parts",
    ],
)
def test_what_a_column_holds_is_found_out(tmp_path: Path, texts: list[str], expected: Field) -> None:
    if expected.categories == ("9", "10", "x"):
        assert field_of(tmp_path, texts, categorical=["other"]) == expected
        return
    assert field_of(tmp_path, texts) == expected


def test_what_is_said_of_a_column_counts(tmp_path: Path) -> None:
    years = cycled("1999", "2008", "2003")
    assert field_of(tmp_path, years, categorical=["other"]) == Field("other", 3, ("1999", "2003", "2008"))
    assert field_of(tmp_path, cycled("0", "1"), numeric=["other"]) == Field("other", decimals=0, rounded=True)
    data = CsvTable(path=written(tmp_path, table(other=years)), columns=ColumnsConfig(drop=["other"]))
    assert [field.name for field in data.spec.fields] == ["length"]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([f"2024-01-{row % 28 + 1:02d}" for row in range(ROWS)], r"holds dates or times, such as '2024-01-01'"),
        ([f"{row % 12 + 1}/4/1999" for row in range(ROWS)], r"holds dates .* data.columns.categorical=\[other\]"),
        (cycled("Jan 3, 2020", "Feb 11, 2020", "3 May 2021"), r"holds dates or times, such as 'Jan 3, 2020'"),
        (cycled("2020-01", "2020-02", "unknown"), r"holds dates or times, such as '2020-01'"),
        (cycled("01/2020", "12/2021", "3:15 pm"), r"holds dates or times, such as '01/2020'"),
        (cycled("2020.12.1", "2020.11.2", "2021.1.3"), r"holds dates or times, such as '2020.12.1'"),
        (cycled("2024-W05", "2024-W06", "2023W52-7"), r"holds dates or times, such as '2024-W05'"),
        (cycled("2024Q1", "2024-Q2", "Q3 2023"), r"holds dates or times, such as '2024Q1'.* data.columns.categorical="),
        (cycled("5%", "10 %", "unknown"), r"numbers with signs or spaces, such as '5%'.* data.columns.categorical="),
        (cycled("€5", "-$1,234.50", "7 €"), r"numbers with signs or spaces, such as '€5'"),
        (cycled("1 234", "567", "8\u202f901"), r"numbers with signs or spaces, such as '1 234'"),
        (cycled("1", "2", "3", "4", "1,234"), r"numbers with a comma, such as '1,234'"),
        ([f"{row:05d}" for row in range(ROWS)], r"names, and no categories.* by data.columns.numeric=\[other\]"),
        (cycled("\u22125", "7", "\u22126"), r"numbers with signs or spaces, such as '\u22125'"),
        (cycled("1.0", "1", "1.00"), r"is constant, '1.0' in every row.* data.columns.drop=\[other\]"),
        (["1"] * ROWS, r"is constant, '1' in every row.* data.columns.drop=\[other\]"),
        ([""] * ROWS, r"is empty. Leave it out"),
        ([f"3,{row}" for row in range(ROWS)], r"numbers with a comma, such as '3,0'.* data.columns.decimal=comma"),
        ([f"1,234,{row:03d}" for row in range(ROWS)], r"if it separates thousands, take it out"),
        ([f"person {row}" for row in range(ROWS)], r"40 different texts in 40 rows: names, and no categories"),
        ([str(row) for row in range(ROWS - 1)] + ["unknown"], r"but also 'unknown' \(row 40\).*missing_values"),
        ([str(row) for row in range(ROWS - 1)] + ["inf"], r"but also 'inf' \(row 40\)"),
        ([f"{row}e35" for row in range(1, ROWS + 1)], r"holds 4e\+36, expected numbers up to 1e\+30"),
        ([f"{row}.5e-41" for row in range(ROWS)], r"has no number above 3.95e-40, expected one above 1e-30\. Give it"),
        ([str(1_600_000_000 + row) for row in range(ROWS)], r"differ too little for float32.* Subtract a constant"),
    ],
    ids=[
        "date",
        "us-date",
        "written-date",
        "month",
        "month-of-year",
        "points",
        "weeks",
        "quarters",
        "percent",
        "currency",
        "spaces",
        "one-comma",
        "codes",
        "minus",
        "constant-number",
        "constant",
        "empty",
        "comma",
        "thousands",
        "names",
        "odd",
        "inf",
        "huge",
        "minute",
        "offset",
    ],
)
def test_a_column_from_which_nothing_is_learned_is_told(tmp_path: Path, texts: list[str], message: str) -> None:
    missing = "indicator" if texts[0] == "" else "refuse"
    with pytest.raises(GenlabError, match=r"^Column 'other' of table.csv .*" + message):
        CsvTable(path=written(tmp_path, table(other=texts)), missing=missing)


def test_a_comma_may_be_the_decimal_sign(tmp_path: Path) -> None:
    """And a point is then none: 1.234 is one number here and another there."""
    columns = {"a": [f"3,{row:02d}" for row in range(ROWS)], "b": cycled("x", "y", "z")}
    data = CsvTable(path=written(tmp_path, columns, separator=";"), columns=ColumnsConfig(decimal="comma"))
    assert data.spec.fields[0] == Field("a", decimals=2, rounded=True)
    assert sorted(all_rows(data)[:, 0].tolist()) == pytest.approx([3 + row / 100 for row in range(ROWS)])
    for texts in ([f"3.{row:02d}" for row in range(ROWS)], cycled("3.5", "4.0", "5"), cycled("1.234,5", "2,5", "7")):
        points = written(tmp_path, {"a": texts, "b": cycled("x", "y", "z")}, "points.csv", separator=";")
        with pytest.raises(
            GenlabError, match=rf"numbers with a point, such as '{texts[0]}'.* leave data.columns.decim"
        ):
            CsvTable(path=points, columns=ColumnsConfig(decimal="comma"))
    days = written(tmp_path, {"a": cycled("1.12.2020", "2.12.2020", "30.11.2020")}, "days.csv")
    with pytest.raises(GenlabError, match=r"dates or times, such as '1.12.2020'"):
        CsvTable(path=days, columns=ColumnsConfig(decimal="comma"))


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["950", "1.230", "12.400", "87"], ("1.230", "950")),
        (["0", "-950", "1.230", "+87", "-12.415"], ("1.230", "-950")),
        (["1.230", "12.400", "950.000", "0.020"], None),
        (["1.23", "12.4", "950", "87", "0.125"], None),
        (["1.125", "12.375", "950", "87"], None),
        (["1.230", "0.400", "950", "87"], None),
        (["1.230", "12.400", "0", "-9"], None),
        (["1.230", "12.400", "950", "1234"], None),
        (["1,230", "12,400", "950", "87"], None),
        (["950", "87"], None),
    ],
    ids=["thousands", "signs", "all", "none", "eighths", "below-one", "marks", "above", "commas", "whole"],
)
def test_points_between_thousands_are_no_decimal_points(texts: list[str], expected: tuple[str, str] | None) -> None:
    """No column is taken for one of thousands in which a program wrote decimals, with their last zeros or without."""
    assert in_thousands(texts) == expected


def test_commas_of_names_and_numbers_separate_nothing() -> None:
    found = parse_csv("Größe, cm;Gewicht, kg\n180,5;75,2\n".encode(), "table.csv")
    assert found.columns == {"Größe, cm": ["180,5"], "Gewicht, kg": ["75,2"]}
    found = parse_csv(b"Height, cm;Weight, kg;Age\n180;75;30\n", "table.csv")
    assert list(found.columns) == ["Height, cm", "Weight, kg", "Age"]


def test_the_separator_is_that_of_the_first_line_that_is_not_empty() -> None:
    found = parse_csv(b"\r\n\na;b\n1,5;2\n", "table.csv")
    assert found.columns == {"a": ["1,5"], "b": ["2"]}


def test_a_table_may_have_more_names_than_a_part_of_a_line_may_be_long(tmp_path: Path) -> None:
    head = ",".join(f"a column with a long name {number}" for number in range(5000))
    found = parse_csv(f"{head}\n{','.join(['1'] * 5000)}\n".encode(), "table.csv")
    assert len(head) > csv.field_size_limit()
    assert len(found.columns) == 5000
    with pytest.raises(GenlabError, match=r"^table.csv is no CSV file: line 1: field larger than field limit"):
        parse_csv(b"a" * 140_000 + b"\n1\n", "table.csv")


def test_numbers_with_leading_zeros_may_be_numbers(tmp_path: Path) -> None:
    texts = [f"{row:05d}" for row in range(ROWS)]
    assert field_of(tmp_path, texts, numeric=["other"]) == Field("other", decimals=0, rounded=True)
