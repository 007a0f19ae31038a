"""Tables: what is said to files that cannot be used, how rows are split, and what comes back as a file."""

from __future__ import annotations

import csv
import io
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec, Field
from genlab.data import own
from genlab.data.columns import ColumnsConfig, parse_csv
from genlab.data.own import CsvTable
from genlab.data.tables import BreastCancer, Diabetes, TableData, Wine
from genlab.measure.figures import FIGURES
from genlab.measure.results import read_result
from genlab.modalities import modality_of
from genlab.modalities.table import as_text
from tests.data.csv_tables import ROWS, all_rows, cycled, table, written
from tests.tiny import train


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "table.csv has no rows"),
        ("a,b\n", "table.csv has no rows"),
        ("a,b\n1,2\n1\n", r"has 1 values in line 3, expected 2"),
        ("a,a\n1,2\n", "more than one column 'a'"),
        (",a\n0,1\n", r"Column 1 of table.csv has no name.* index=False"),
        ("1,2\n3,4\n", "first line of table.csv holds numbers"),
        ("a,b\n1,2\n3,4\n", "table.csv has 2 different rows, expected at least 20"),
        ('a,b\n"1,2\n', r"table.csv is no CSV file: line 2: unexpected end of data. Look for a quotation mark"),
        ('a,b\n1,"x\n2,y\n3,z\n', r"table.csv is no CSV file: lines 2 to 4: unexpected end of data. Look for"),
        ('a,b\n1,"x\n2,y\n3,"z\n', r"table.csv is no CSV file: lines 2 to 4: ',' expected after '\"'. Look for"),
    ],
)
def test_what_is_no_table_is_told(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "table.csv").write_text(content)
    with pytest.raises(GenlabError, match=message):
        CsvTable(path=tmp_path / "table.csv", columns=ColumnsConfig(numeric=["a"] if content.startswith("a,b") else []))


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes("a,b\n1,é\n".encode("latin-1"))
    with pytest.raises(GenlabError, match=r"latin.csv is not UTF-8: byte 0xe9 in line 2"):
        CsvTable(path=tmp_path / "latin.csv")
    for settings, words in (
        ({"path": None}, "data.path is not given, expected a CSV file"),
        ({"path": tmp_path}, "is a folder, expected a CSV file"),
        ({"missing": "dropped"}, r"data.missing is 'dropped', expected refuse, drop.* Did you mean 'drop'"),
        ({"rounding": "cell"}, r"data.rounding is 'cell', expected cells or noise. Did you mean 'cells'"),
        ({"target": "kinds"}, r"data.target names 'kinds', but table.csv has the columns length, kind. Did you mean"),
        ({"columns": ColumnsConfig(drop=["x"])}, r"data.columns.drop names 'x', but table.csv has the columns"),
        ({"columns": ColumnsConfig(drop=["kind"]), "target": "kind"}, "which data.columns.drop leaves out"),
        ({"columns": ColumnsConfig(drop=["kind", "length"])}, "No column of table.csv is left"),
        ({"columns": ColumnsConfig(numeric=["kind"])}, r"is to be numeric, but holds 'a' \(row 1\)"),
    ):
        given = {"path": written(tmp_path, table(kind=cycled("a", "b")))} | settings
        with pytest.raises(GenlabError, match=words):
            CsvTable(**given)


def test_names_from_a_file_do_nothing_to_a_terminal(tmp_path: Path) -> None:
    with pytest.raises(GenlabError) as error:
        CsvTable(path=written(tmp_path, table(**{"\x1b[31mred": ["1"] * ROWS})))
    assert "\x1b" not in str(error.value)


class TestMissing:
    """Values that are not there."""

    def path(self, folder: Path) -> Path:
        kind = ["NA" if row in (3, 4) else "ab"[row % 2] for row in range(ROWS)]
        width = ["" if row in (4, 5, 6) else str(row) for row in range(ROWS)]
        return written(folder, table(kind=kind, width=width))

    def test_they_are_refused_with_their_columns(self, tmp_path: Path) -> None:
        with pytest.raises(GenlabError, match=r"missing values in 4 of 40 rows: kind \(2\), width \(3\). Leave"):
            CsvTable(path=self.path(tmp_path))

    def test_their_rows_may_be_left_out(self, tmp_path: Path) -> None:
        data = CsvTable(path=self.path(tmp_path), missing="drop")
        assert len(all_rows(data)) == 36
        assert data.spec.fields[1].categories == ("a", "b")

    def test_of_categories_they_may_be_one_more(self, tmp_path: Path) -> None:
        with pytest.raises(GenlabError, match=r"'width' of table.csv has 3 missing numbers.* data.missing=indicator"):
            CsvTable(path=self.path(tmp_path), missing="category")
        data = CsvTable(path=self.path(tmp_path), missing="category", columns=ColumnsConfig(drop=["width"]))
        assert data.spec.fields[1] == Field("kind", 3, ("a", "b", ""))
        assert int((all_rows(data)[:, 1] == 2).sum()) == 2

    def test_of_numbers_a_column_may_say_so(self, tmp_path: Path) -> None:
        data = CsvTable(path=self.path(tmp_path), missing="indicator")
        names = [field.name for field in data.spec.fields]
        assert names == ["length", "kind", "width", "width is missing"]
        assert data.spec.fields[3].marks == "width"
        gone = all_rows(data)[:, 3] == 1
        assert int(gone.sum()) == 3
        assert set(all_rows(data)[gone, 2].tolist()) == {21.0}  # the median of the others
        back = list(csv.DictReader(io.StringIO(as_text(all_rows(data), data.spec))))
        assert list(back[0]) == ["length", "kind", "width"]
        assert sorted(row["width"] for row in back)[:4] == ["", "", "", "0"]

    def test_a_target_has_none(self, tmp_path: Path) -> None:
        with pytest.raises(GenlabError, match=r"target 'kind' of table.csv has missing values. Use data.missing=drop"):
            CsvTable(path=self.path(tmp_path), missing="indicator", target="kind")

    def test_what_stands_for_them_may_be_said(self, tmp_path: Path) -> None:
        path = written(tmp_path, table(country=cycled("NA", "DE", "FR")))
        assert CsvTable(path=path, columns=ColumnsConfig(missing_values=[""])).spec.fields[1].levels == 3


def test_equal_rows_are_in_the_same_split(tmp_path: Path) -> None:
    lengths = [str(row // 2) for row in range(200)]
    data = CsvTable(path=written(tmp_path, {"length": lengths, "kind": ["a", "a", "b", "b"] * 50}))
    parts = [{tuple(row) for row in data.tensors(split).x.tolist()} for split in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [70, 15, 15]
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert [len(data.tensors(split).x) for split in ("train", "validation", "test")] == [140, 30, 30]


@pytest.mark.parametrize("rounding", ["cells", "noise"])
def test_rows_that_differ_by_their_labels_or_beyond_float32_are_equal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, rounding: str
) -> None:
    lengths = [f"{1 + row // 4 / 64 + (row % 2) * 1e-12:.13f}" for row in range(240)]
    widths = [str(row // 4 % 7) for row in range(240)]
    kinds = [("oak", "elm", "ash")[row % 3] for row in range(240)]
    path = written(tmp_path, {"length": lengths, "width": widths, "kind": kinds})
    data, _ = (CsvTable(path=path, target="kind", rounding=rounding) for _ in range(2))
    found = {split: data.tensors(split).x[:, 0].tolist() for split in ("train", "validation", "test")}
    assert {split: (len(rows), len(set(rows))) for split, rows in found.items()} == {
        "train": (168, 42), "validation": (36, 9), "test": (36, 9)
    }  # fmt: skip
    assert len(set().union(*found.values())) == 60
    assert caplog.text.count("table.csv: 180 of 240 rows equal another; equal ones are in the same split.") == 1


def test_a_table_lies_in_memory_once(tmp_path: Path) -> None:
    data = CsvTable(path=written(tmp_path, table(kind=cycled("a", "b", "c"))), target="kind")
    taken = data._taken
    assert taken is not None
    before = [weakref.ref(values) for values in (taken.columns[0].values, taken.labels, taken.places["train"])]
    del taken
    assert len(data.tensors("train").x) + len(data.tensors("validation").x) + len(data.tensors("test").x) == ROWS
    assert [reference() for reference in before] == [None] * 3


def test_a_target_is_the_label_and_no_column(tmp_path: Path) -> None:
    data = CsvTable(path=written(tmp_path, table(kind=cycled("1", "2", "3"))), target="kind")
    assert (data.spec.num_classes, [field.name for field in data.spec.fields]) == (3, ["length"])
    assert set(data.tensors("train").y.tolist()) == {0, 1, 2}


def test_a_column_to_predict_stays_one_of_the_rows_and_makes_another_data_set(tmp_path: Path) -> None:
    path = written(tmp_path, table(kind=cycled("a", "b", "c")))
    plain, found = CsvTable(path=path), CsvTable(path=path, predict="kind")
    assert (found.spec.predicted, plain.spec.predicted) == ("kind", None)
    assert (found.spec.fields, found.spec.num_classes) == (plain.spec.fields, None)
    assert torch.equal(all_rows(found), all_rows(plain))
    assert len({data.spec.name for data in (plain, found, CsvTable(path=path, predict="length"))}) == 3
    assert Diabetes().spec.predicted == "progression"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"predict": "lenght"}, "data.predict names 'lenght', but table.csv has the columns .* Did you mean 'length'"),
        (
            {"predict": "kind", "target": "kind", "missing": "drop"},
            "no column of the rows: data.target makes it the label",
        ),
        ({"predict": "kind", "columns": ColumnsConfig(drop=["kind"])}, "data.columns.drop leaves it out"),
        ({"predict": "kind", "missing": "category"}, "'kind' of table.csv, which data.predict names, has missing valu"),
        ({"predict": "length", "target": "kind", "missing": "drop"}, "the only column: there is none to predict it"),
    ],
)
def test_a_column_that_cannot_be_predicted_is_told(tmp_path: Path, settings: dict, message: str) -> None:
    with pytest.raises(GenlabError, match=message):
        CsvTable(path=written(tmp_path, table(kind=cycled("a", "b", "", "c"))), **settings)


def test_noise_stays_within_the_cell_and_is_always_the_same(tmp_path: Path) -> None:
    path = written(tmp_path, table(kind=cycled("a", "b")))
    plain, first, second = (CsvTable(path=path, rounding=rounding) for rounding in ("cells", "noise", "noise"))
    assert first.spec.needs == {"fields"}
    assert plain.spec.needs == {"fields", "cells"}
    assert plain.spec.name != first.spec.name
    noise = (all_rows(first) - all_rows(plain))[:, 0]
    assert torch.equal(all_rows(first), all_rows(second))
    assert 0.02 < noise.std() < 0.04  # 0.1 / sqrt(12)
    assert noise.abs().max() <= 0.05001
    assert as_text(all_rows(first), first.spec) == as_text(all_rows(plain), plain.spec)


def test_a_column_that_counts_the_rows_and_rows_left_out_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kinds = ["" if row == 7 else "abc"[row % 3] for row in range(ROWS)]
    columns = table(number=[str(row) for row in range(ROWS)], kind=kinds)
    CsvTable(path=written(tmp_path, columns, "counted.csv"), missing="drop")
    assert "counted.csv: left out 1 of 40 rows, which have missing values." in caplog.text
    assert "counted.csv: column 'number' counts the rows" in caplog.text
    assert "column 'length'" not in caplog.text


def test_a_common_value_among_numbers_with_a_density_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    texts = ["0" if row % 3 == 0 else f"{row / 7:.12f}" for row in range(ROWS)]
    CsvTable(path=written(tmp_path, table(other=texts)))
    assert "Column 'other' of table.csv is 0 in 35 % of its rows, but has a density" in caplog.text


def test_points_that_may_separate_thousands_are_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    columns = table(price=cycled("950", "1.230", "", "12.400", "87"), weight=cycled("1.230", "12.400", "950.000"))
    for _ in range(2):
        CsvTable(path=written(tmp_path, columns, "thousands.csv"), missing="indicator")
    said = "thousands.csv: column 'price' holds 1.230 beside 950, and points are read as decimal signs. If they"
    assert caplog.text.count(said) == caplog.text.count("thousands, take") == 1


def test_another_table_or_setting_is_another_data_set(tmp_path: Path) -> None:
    path = written(tmp_path, table(kind=cycled("a", "b")), "my table (1).csv")
    names = {
        CsvTable(path=path, **settings).spec.name
        for settings in ({}, {"rounding": "noise"}, {"target": "kind"}, {"columns": ColumnsConfig(drop=["kind"])})
    }
    written(tmp_path, table(kind=cycled("a", "c")), "my table (1).csv")
    names.add(CsvTable(path=path).spec.name)
    assert len(names) == 5
    assert all(name.startswith("csv_my_table_1_") for name in names)


@pytest.mark.parametrize("cls", [Wine, BreastCancer, Diabetes])
def test_tables_of_scikit_learn_are_what_it_has(cls: type[TableData]) -> None:
    from sklearn import datasets

    name = cls.table
    found = getattr(datasets, f"load_{name}")(**({"scaled": False} if name == "diabetes" else {}))
    data = cls(rounding="cells")
    expected = np.column_stack([found.data, found.target]) if name == "diabetes" else found.data
    if name == "diabetes":
        expected[:, 1] -= 1  # sex is written as 1 and 2, categories 0 and 1
    rows = all_rows(data)
    assert rows.shape == expected.shape
    assert sorted(rows[:, 0].tolist()) == pytest.approx(sorted(expected[:, 0]), rel=1e-6)
    np.testing.assert_allclose(rows.double().mean(0), expected.mean(0), rtol=1e-5)
    if data.spec.num_classes:
        counts = sum(data.tensors(split).y.bincount() for split in ("train", "validation", "test"))
        assert sorted(counts.tolist()) == sorted(np.bincount(found.target).tolist())
        assert cls().spec.needs == frozenset(), "families of vectors take it"


REAL = {"penguins": {"missing": "drop"}, "mpg": {}, "diamonds": {}}


@pytest.mark.real_data
@pytest.mark.parametrize("real_root", ["tables"], indirect=True)
@pytest.mark.parametrize("name", REAL)
def test_a_file_comes_back_with_the_types_that_went_in(name: str, real_root: Path) -> None:
    """Every row that is written stands in the file that was read: by value, and each column of its type."""
    path = real_root / "tables" / f"{name}.csv"
    data = CsvTable(path=path, **REAL[name])
    back = list(csv.reader(io.StringIO(as_text(data.tensors("test").x, data.spec))))
    with path.open(newline="") as file:
        before = list(csv.reader(file))
    assert back[0] == before[0]
    known = {tuple(map(_value, row)) for row in before[1:]}
    assert {tuple(map(_value, row)) for row in back[1:]} <= known
    for column, field in enumerate(data.spec.fields):
        if field.decimals == 0:
            assert not any("." in row[column] for row in back)


def test_what_had_decimal_commas_comes_back_with_points_and_is_read_as_it_is(tmp_path: Path) -> None:
    """Whatever the file had: so says the documentation. Categories keep their names, commas and all."""
    sizes = [f"{row},{row % 7}" for row in range(ROWS)]
    columns = {"size": sizes, "kind": cycled("a; b", "c"), "grade": cycled("1,5", "2,5", "3,5")}
    settings = {"decimal": "comma", "categorical": ["grade"]}
    path = written(tmp_path, columns, separator=";")
    before = CsvTable(path=path, columns=ColumnsConfig(**settings))
    back = tmp_path / "back.csv"
    back.write_text(as_text(all_rows(before), before.spec))
    assert back.read_text().splitlines()[0] == "size,kind,grade"
    after = CsvTable(path=back, columns=ColumnsConfig(categorical=["grade"]))
    assert after.spec.fields == before.spec.fields
    assert sorted(all_rows(after).tolist()) == sorted(all_rows(before).tolist())
    read = modality_of(before.spec).read_many(back, before.spec)
    assert torch.equal(read, all_rows(before))
    with pytest.raises(GenlabError, match=r"numbers with a point.* leave data.columns.decimal"):
        CsvTable(path=back, columns=ColumnsConfig(**settings))


def _value(text: str) -> tuple[int, object]:
    try:
        return (0, float(text))
    except ValueError:
        return (1, text)


def test_a_table_of_ones_own_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the command: its samples are a CSV file with the columns and the categories that went in."""
    read: list[str] = []
    monkeypatch.setattr(own, "parse_csv", lambda content, where: read.append(where) or parse_csv(content, where))
    random = np.random.RandomState(0)
    columns = {
        "size": [f"{value:.1f}" for value in random.standard_normal(320) * 3 + 170],
        "kind": [("oak", "elm, old", "ash")[value] for value in random.randint(3, size=320)],
        "age": [str(value) for value in random.randint(90, size=320)],
    }
    path = written(tmp_path, columns)
    result = train(
        tmp_path / "logs",
        "data=csv",
        f"data.path={path}",
        "data.predict=size",
        "evaluation.num_samples=100",
        model="gmm",
    )
    assert read == ["table.csv"], "once, though training, evaluation and both models need it"
    assert result.likelihood.nats > 0
    assert result.data.unit == "nats"
    assert result.data.columns == ("size", "kind", "age")
    assert 0 <= result.value(FIGURES["c2st_auc"]) <= 1
    assert result.value(FIGURES["tstr_r2"]) < 0.3, "no column depends on another"
    (floor,) = (tmp_path / "logs").glob("runs/*/floor/*/results/*.json")
    found = read_result(floor)
    assert found.data == result.data
    assert {"c2st_auc", "nearer_share", "tstr_r2", "tstr_r2_real"} <= found.quality.model_fields_set
    samples = next((tmp_path / "logs").glob("runs/*/gmm/*/samples/*.csv"))
    assert samples.with_suffix(".png").exists()
    rows = list(csv.DictReader(io.StringIO(samples.read_text())))
    assert list(rows[0]) == ["size", "kind", "age"]
    assert {row["kind"] for row in rows} <= {"oak", "elm, old", "ash"}
    assert all(float(row["size"]) == round(float(row["size"]), 1) for row in rows)
    assert all(row["age"].lstrip("-").isdigit() for row in rows)


def test_a_drawn_number_is_written_with_its_decimals() -> None:
    spec = DataSpec("t", "table", (3,), fields=(Field("a", decimals=2), Field("b", levels=2), Field("c")))
    assert as_text(torch.tensor([[-0.001, 1.0, 1 / 3]]), spec) == "a,b,c\n0.00,1,0.3333333\n"


def test_training_noise_is_normal_and_of_training_rows_alone(tmp_path: Path) -> None:
    """Numbers get it in units of their column; rounded ones stay on their grid, and categories are no numbers."""
    columns = table(kind=cycled("a", "b"), wide=[f"{100 * (row / 7) ** 1.3:.9f}" for row in range(ROWS)])
    path = written(tmp_path, columns)
    plain, noisy, other = (
        CsvTable(path=path, batch_size=2800, training_noise=noise, seed=seed)
        for noise, seed in ((0.0, 0), (0.3, 0), (0.3, 1))
    )
    assert torch.equal(all_rows(plain), all_rows(noisy))  # the splits stay what they are
    assert plain.spec == noisy.spec
    drawn, again, differently = (next(iter(data.train_dataloader())).x for data in (noisy, noisy, other))
    assert torch.equal(drawn, again)
    assert not torch.equal(drawn, differently)
    x = next(iter(plain.train_dataloader())).x
    assert torch.equal(drawn[:, 1], x[:, 1])
    added = (drawn - x)[:, [0, 2]] / plain.tensors("train").x[:, [0, 2]].std(0, correction=0)
    torch.testing.assert_close(added.std(0), torch.full((2,), 0.3), atol=0.015, rtol=0)
    torch.testing.assert_close(added.mean(0), torch.zeros(2), atol=0.02, rtol=0)
    share = (added.abs() < 0.3).float().mean(0)  # of a normal within one deviation
    torch.testing.assert_close(share, torch.full((2,), 0.683), atol=0.04, rtol=0)
    torch.testing.assert_close(10 * drawn[:, 0], (10 * drawn[:, 0]).round(), atol=1e-4, rtol=0)


def test_what_stands_for_a_missing_number_gets_no_training_noise(tmp_path: Path) -> None:
    path = written(tmp_path, table(width=["", *(f"{row}" for row in range(1, ROWS))]))
    data = CsvTable(path=path, missing="indicator", training_noise=0.3)
    rows = all_rows(data)
    assert data.draw_transform is not None
    drawn = data.draw_transform(rows, torch.rand(rows.shape, generator=torch.Generator().manual_seed(0)))
    gone = rows[:, 2] == 1
    assert torch.equal(drawn[gone, 1], rows[gone, 1])
    assert (drawn[~gone, 1] != rows[~gone, 1]).float().mean() > 0.7
    assert (drawn[:, 0] != rows[:, 0]).float().mean() > 0.7


def test_training_noise_is_finite_whatever_is_drawn() -> None:
    data = Wine(training_noise=0.5)
    rows = data.tensors("train").x[:2]
    assert data.draw_transform is not None
    ends = torch.tensor([0.0, 1 - 2.0**-24])[:, None].expand(2, rows.shape[1])
    assert data.draw_transform(rows, ends).isfinite().all()
