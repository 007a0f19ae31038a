"""Columns of a table as they stand in a file: which are numbers, with how many decimals, and which are categories."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from typing import Literal

import numpy as np

from genlab.core.errors import GenlabError, nearest, shown
from genlab.core.spec import MOST_DECIMALS, Field

__all__ = ["ColumnsConfig", "Sheet", "parse_csv", "typed"]

MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "<NA>", "?")
MOST_CATEGORIES = 1000
FINEST_GRID = 2**22
"""Most steps from zero of rounded numbers: float32 holds them and the middles between them, twice as finely."""
LARGEST = 1e30
LEAST_SPREAD = 2.0**-18
"""Deviation of numbers, as a part of the largest, of which float32 leaves at least six bits."""
SEPARATORS = (",", ";", "\t", "|")
LINES_SEEN = 20
"""Lines by which the separator is told."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_CODE = re.compile(r"0\d+")
_OTHER_SIGN = {
    "point": re.compile(r"[+-]?(?=[.,]*\d)[\d.]*,[\d.,]*([eE][+-]?\d+)?"),
    "comma": re.compile(r"[+-]?(?=[.,]*\d)[\d,]*\.[\d.,]*([eE][+-]?\d+)?"),
}
"""Numbers with the sign that is not the decimal one."""
_WITH_MORE = re.compile(r"(?=.*[€$£¥%‰'\s\u2212])[€$£¥]?\s*[+\u2212-]?\s*[€$£¥]?\s*\d[\d.,'\s]*[€$£¥%‰]?")
"""Also numbers with the minus sign of typography."""
_COMMA_TO_POINT = {ord(","): ".", ord("."): ","}
_MONTH = (
    "(jan(uary)?|feb(ruary)?|mar(ch)?|apr(il)?|may|june?|july?|aug(ust)?|sept?(ember)?|oct(ober)?|nov(ember)?"
    "|dec(ember)?)"
)
_WEEK = r"(19|20)\d\d-?W(0[1-9]|[1-4]\d|5[0-3])(-?[1-7])?"
"""As ISO 8601 has it, with or without the day."""
_QUARTER = r"(19|20)\d\d[-/ ]?Q[1-4]|Q[1-4][-/ ]?(19|20)\d\d"
_DATE = re.compile(
    r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2}))([T ].*)?|\d{1,2}:\d{2}(:\d{2})?( ?[ap]m)?"
    rf"|\d{{4}}[-/](0?[1-9]|1[0-2])|(0?[1-9]|1[0-2])/\d{{4}}|{_WEEK}|{_QUARTER}"
    rf"|(?=.*\d)([a-z]+, )?[\d .,/-]*{_MONTH}[\d .,:/-]*",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class ColumnsConfig:
    """What is said of the columns of a table, by their names, where it is not to be found out.

    Args:
        drop: Columns that are left out.
        categorical: Columns whose values are categories though they look like numbers or dates.
        numeric: Columns whose values are numbers though there are two of them only, or they have leading zeros.
        decimal: The decimal sign of its numbers: ``"point"`` or ``"comma"``.
        missing_values: What stands in a file where a value is missing.
    """

    drop: list[str] = field(default_factory=list)
    categorical: list[str] = field(default_factory=list)
    numeric: list[str] = field(default_factory=list)
    decimal: Literal["point", "comma"] = "point"
    missing_values: list[str] = field(default_factory=lambda: list(MISSING))


@dataclass(frozen=True)
class Sheet:
    """A table as text.

    Attributes:
        where: How messages call it.
        columns: The texts of each column by its name, in order, all of one length.
    """

    where: str
    columns: Mapping[str, Sequence[str]]

    def check_names(self, key: str, names: Sequence[str]) -> None:
        """Refuse names that no column has, which the setting ``key`` gave."""
        for name in names:
            if name not in self.columns:
                raise GenlabError(
                    f"{key} names '{shown(name)}', but {self.where} has the columns "
                    f"{_listed(list(self.columns))}.{nearest(name, self.columns)}"
                )


def parse_csv(content: bytes, where: str) -> Sheet:
    """Read a CSV file in UTF-8: a line of names, then rows; separated by commas, semicolons, tabs or bars.

    Raises:
        GenlabError: If it is no such file.
    """
    try:
        text = content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise GenlabError(
            f"{where} is not UTF-8: byte 0x{content[error.start]:02x} in line {line:,}. Save it as UTF-8."
        ) from error
    stream = io.StringIO(text, newline="")
    separator = _separator(stream)
    stream.seek(0)
    # Strict: a quotation mark that is not closed would make one value of all rows below it.
    reader = csv.reader(stream, delimiter=separator, skipinitialspace=True, strict=True)
    rows: list[list[str]] = []
    begun = 1
    try:
        for row in reader:
            if row and rows and len(row) != len(rows[0]):
                raise GenlabError(
                    f"{where} has {len(row)} values in line {reader.line_num:,}, expected {len(rows[0])}, "
                    "as many as names in its first line. Mend that line."
                )
            if row:
                rows.append([value.strip() for value in row])
            begun = reader.line_num + 1
    except csv.Error as error:
        quotes = " Look for a quotation mark that is not closed or not doubled." if '"' in text else ""
        end = reader.line_num
        lines = f"lines {begun:,} to {end:,}" if end > begun else f"line {end:,}"
        raise GenlabError(f"{where} is no CSV file: {lines}: {error}.{quotes}") from error
    if len(rows) < 2:
        raise GenlabError(f"{where} has no rows, expected a line of names and rows below it.")
    names = rows[0]
    _check_header(names, where)
    return Sheet(where, dict(zip(names, map(list, zip(*rows[1:], strict=True)), strict=True)))


def _separator(stream: io.StringIO) -> str:
    """Return what separates the values in a file, by its first lines."""
    lines = list(islice((line for line in stream if line.strip("\r\n")), LINES_SEEN))
    if not lines:
        return SEPARATORS[0]
    found = max(SEPARATORS, key=lambda separator: _parts(lines[0], separator))
    if found == SEPARATORS[0]:
        # Above "Height, cm;Weight, kg" and "180,5;75,2" commas would do as well: they are of names and of numbers.
        for other in SEPARATORS[1:]:
            counts = {_parts(line, other) for line in lines}
            if len(counts) == 1 and counts.pop() > 1:
                return other
    return found


def _parts(line: str, separator: str) -> int:
    try:
        return len(next(csv.reader([line], delimiter=separator), []))
    except csv.Error:  # a part is longer than the module takes: this does not separate them
        return 0


def _check_header(names: Sequence[str], where: str) -> None:
    if "" in names:
        raise GenlabError(
            f"Column {names.index('') + 1} of {where} has no name. Name it in the first line; "
            "if it is the index that pandas writes, write the file with index=False."
        )
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise GenlabError(f"{where} has more than one column '{shown(twice[0])}'. Give each its own name.")
    if all(_NUMBER.fullmatch(name) for name in names):
        raise GenlabError(
            f"The first line of {where} holds numbers, expected the names of the columns. Add such a line."
        )


@dataclass(frozen=True)
class TypedColumn:
    """A column as numbers.

    Attributes:
        field: What it is.
        values: ``[N]``, float64: numbers, or those of categories; NaN where one is missing.
    """

    field: Field
    values: np.ndarray


def typed(sheet: Sheet, name: str, config: ColumnsConfig) -> TypedColumn:
    """Find out what a column holds, and read it.

    Numbers are numbers unless they are two different ones only, or whole ones with leading zeros, which are categories,
    as all other texts are.

    Raises:
        GenlabError: If it is neither, or nothing can be learned from it.
    """
    texts, where = sheet.columns[name], f"Column '{shown(name)}' of {sheet.where}"
    gone = set(config.missing_values)
    counts = Counter(text for text in texts if text not in gone)
    without = f"Leave it out by data.columns.drop=[{shown(name)}]."
    if not counts:
        raise GenlabError(f"{where} is empty. {without}")
    if len(counts) == 1:
        raise _constant(where, next(iter(counts)), without)
    comma = config.decimal == "comma"
    # A point is then none of a number: 1.234 is one thing here and another there.
    plain = {text: text.translate(_COMMA_TO_POINT) if comma else text for text in counts}
    numbers = {text: one for text, one in plain.items() if _NUMBER.fullmatch(one)}
    if name in config.numeric and len(numbers) < len(counts):
        raise GenlabError(f"{where} is to be numeric, but holds {_example(texts, counts, numbers)}.")
    if name in config.categorical or (len(counts) == 2 and name not in config.numeric):
        return _categories(name, texts, counts, where, without)
    # 01234 would come back as 1234.
    are_codes = name not in config.numeric and all(map(str.isdecimal, numbers)) and any(map(_CODE.fullmatch, numbers))
    if are_codes:
        without = f"{without[:-1]}, or take them as numbers by data.columns.numeric=[{shown(name)}]."
    elif len(numbers) == len(counts):
        return _numbers(name, texts, numbers, where, without)
    else:
        _check_no_numbers(name, texts, counts, numbers, where, config)
    if 2 * len(counts) > len(texts) and len(counts) > 20:
        raise GenlabError(
            f"{where} has {len(counts):,} different texts in {len(texts):,} rows: names, and no categories. {without}"
        )
    return _categories(name, texts, counts, where, without)


def _check_no_numbers(
    name: str,
    texts: Sequence[str],
    counts: Mapping[str, int],
    numbers: Mapping[str, str],
    where: str,
    config: ColumnsConfig,
) -> None:
    """Refuse texts most of which are dates, numbers, or numbers that are written otherwise."""

    def such_as(pattern: re.Pattern[str], others: int = 0) -> str | None:
        found = [text for text in counts if text not in numbers and pattern.fullmatch(text)]
        return f"such as '{shown(found[0])}'" if found and 2 * (len(found) + others) > len(counts) else None

    as_categories = f"data.columns.categorical=[{shown(name)}]"
    if example := such_as(_DATE):
        raise GenlabError(
            f"{where} holds dates or times, {example}, which are neither numbers nor categories. Leave it out by "
            f"data.columns.drop=[{shown(name)}], or take each as a category by {as_categories}."
        )
    if example := such_as(_OTHER_SIGN[config.decimal], len(numbers)):
        other, remedy = (
            ("comma", "add data.columns.decimal=comma")
            if config.decimal == "point"
            else ("point", "leave data.columns.decimal out")
        )
        raise GenlabError(
            f"{where} holds numbers with a {other}, {example}. If it is the decimal sign, {remedy}; if it separates "
            "thousands, take it out of the file."
        )
    if example := such_as(_WITH_MORE, len(numbers)):
        raise GenlabError(
            f"{where} holds numbers with signs or spaces, {example}. Take these out of the file, or take each as a "
            f"category by {as_categories}."
        )
    if 2 * len(numbers) > len(counts):
        raise GenlabError(
            f"{where} holds numbers, but also {_example(texts, counts, numbers)}. If it stands for a missing value, "
            f"add it to data.columns.missing_values; else {as_categories}."
        )


def _categories(name: str, texts: Sequence[str], counts: Mapping[str, int], where: str, without: str) -> TypedColumn:
    if len(counts) > MOST_CATEGORIES:
        raise GenlabError(f"{where} has {len(counts):,} categories, expected at most {MOST_CATEGORIES:,}. {without}")
    # Categories that are numbers stand in their order.
    order = sorted(counts, key=lambda text: (float(text) if _NUMBER.fullmatch(text) else np.inf, text))
    number = {text: float(place) for place, text in enumerate(order)}
    values = np.array([number.get(text, np.nan) for text in texts])
    return TypedColumn(Field(name, levels=len(order), categories=tuple(order)), values)


def _constant(where: str, text: str, without: str) -> GenlabError:
    return GenlabError(f"{where} is constant, '{shown(text)}' in every row: nothing to learn. {without}")


def _numbers(name: str, texts: Sequence[str], numbers: Mapping[str, str], where: str, without: str) -> TypedColumn:
    value = {text: float(one) for text, one in numbers.items()}
    distinct = np.array(list(value.values()))
    largest = float(np.abs(distinct).max())
    if largest > LARGEST:
        raise GenlabError(f"{where} holds {largest:g}, expected numbers up to {LARGEST:g}. Give it in another unit.")
    if 0 < largest < 1 / LARGEST:  # float32 has fewer digits there, or none
        raise GenlabError(
            f"{where} has no number above {largest:g}, expected one above {1 / LARGEST:g}. Give it in another unit."
        )
    if np.ptp(distinct) == 0:  # such as 1 and 1.0
        raise _constant(where, next(iter(numbers)), without)
    # As they are written: 1.50 has two decimals, 2e-3 has three.
    decimals = max(max(0, -int(Decimal(one).as_tuple().exponent)) for one in numbers.values())
    rounded = decimals <= MOST_DECIMALS and largest * 10**decimals <= FINEST_GRID
    if not rounded and distinct.std() < LEAST_SPREAD * largest:
        raise GenlabError(
            f"{where} has numbers around {distinct.mean():.10g} that differ too little for float32, by "
            f"{np.ptp(distinct):g}. Subtract a constant from it."
        )
    values = np.array([value.get(text, np.nan) for text in texts])
    return TypedColumn(Field(name, decimals=decimals if decimals <= MOST_DECIMALS else None, rounded=rounded), values)


def _example(texts: Sequence[str], counts: Mapping[str, int], numbers: Mapping[str, str]) -> str:
    odd = next(text for text in counts if text not in numbers)
    return f"'{shown(odd)}' (row {texts.index(odd) + 1:,})"


def _listed(names: Sequence[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(shown(name) for name in names[:most]) + more
