"""Series: splits in time that share no point, returns, and what is said to files that are no series."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec
from genlab.data.series import SP500, SeriesFile, in_returns
from genlab.data.series_columns import read_columns
from genlab.data.stochastic_volatility import StochasticVolatility
from tests.tiny import run_folder, train

SPLITS = ("train", "validation", "test")


def written(tmp_path: Path, text: str, name: str = "prices.csv") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def counted(tmp_path: Path, rows: int, name: str = "prices.csv") -> Path:
    """A series whose values are the numbers of its rows."""
    lines = [f"{1900 + row}-01-01,{row},{row + 0.5}" for row in range(rows)]
    return written(tmp_path, "\n".join(["Date,one,two", *lines]), name)


def test_windows_lie_within_splits_that_share_no_point(tmp_path: Path) -> None:
    data = SeriesFile(path=counted(tmp_path, 103), length=5)
    points = {split: set(data.tensors(split).x[:, 0].flatten().long().tolist()) for split in SPLITS}
    assert points["train"] == set(range(61))
    assert points["validation"] == set(range(61, 81))
    assert points["test"] == set(range(81, 101)), "the rest is less than a window"
    assert data.spec.shape == (2, 5)
    assert data.spec.columns == ("one", "two")
    first, second = data.tensors("train").x[:2]
    assert first.tolist() == [[0, 1, 2, 3, 4], [0.5, 1.5, 2.5, 3.5, 4.5]], "columns over time"
    assert second[0, 0] == 1
    assert data.tensors("test").x[:, 0, 0].tolist() == [81, 86, 91, 96], "these do not overlap"
    assert data.tensors("test").x.dtype == torch.float32


def test_columns_have_a_name_each() -> None:
    with pytest.raises(ValueError, match="1 names were given for 2 columns"):
        DataSpec("prices", "series", (2, 5), columns=("one",))


def test_the_stride_is_that_of_training_windows(tmp_path: Path) -> None:
    data = SeriesFile(path=counted(tmp_path, 100), length=5, stride=20)
    assert data.tensors("train").x[:, 0, 0].tolist() == [0, 20, 40]
    assert data.tensors("validation").x[:, 0, 0].tolist() == [60, 65, 70, 75]
    assert data.split_name("train") == "train (windows of 5 with a stride of 20)"
    assert data.split_name("test") == "test (disjoint windows of 5)"


def test_returns_are_in_percent() -> None:
    prices = np.array([[100.0, 1.0], [110.0, 1.0], [99.0, 2.0]])
    assert in_returns(prices, "simple").tolist() == pytest.approx(np.array([[10, 0], [-10, 100]]))
    logs = [[100 * math.log(1.1), 0], [100 * math.log(0.9), 100 * math.log(2)]]
    assert in_returns(prices, "log") == pytest.approx(np.array(logs))
    assert in_returns(prices, "none") is prices


def test_names_tell_series_columns_and_lengths_apart(tmp_path: Path) -> None:
    path = counted(tmp_path, 60)
    names = [
        SeriesFile(path=path, length=3, **choice).spec.name
        for choice in ({}, {"columns": ["one"]}, {"columns": ["two"]}, {"returns": "none"})
    ]
    names.append(SeriesFile(path=path, length=4).spec.name)
    names.append(SeriesFile(path=counted(tmp_path, 61), length=3).spec.name)
    assert len(set(names)) == 5
    assert names[0] == names[3]
    assert names[0].startswith("series_prices_")
    assert names[0].endswith("_3")


@pytest.mark.parametrize(
    "times",
    [
        ["12/30/1999", "12/31/1999", "1/3/2000"],
        ["30/12/1999", "31/12/1999", "3/1/2000"],
        ["1999-12-30", "1999-12-31T10:00", "2000-01-03T10:00:00+01:00"],
        ["30.12.1999", "31.12.1999", "03.01.2000"],
        ["9", "10.5", "11"],
        ["3/1/2000", "1/2/2000", "2/3/2000"],  # days first: only so they rise
    ],
    ids=" ".join,
)
def test_times_may_be_written_in_many_ways(tmp_path: Path, times: list[str]) -> None:
    path = written(tmp_path, "\n".join(["when, x", *(f"{time},1" for time in times)]))
    names, values = read_columns(path, None, "when")
    assert names == ["x"]
    assert values.tolist() == [[1], [1], [1]]


def test_a_blank_line_of_a_single_column_is_a_missing_value(tmp_path: Path) -> None:
    """As spreadsheets write it; those at the ends of a file are none."""
    assert read_columns(written(tmp_path, "\nx\n1\n2\n\n"), None, None)[1].tolist() == [[1], [2]]
    with pytest.raises(GenlabError, match=r"'x' of .* has 1 missing values, the first in line 3"):
        read_columns(written(tmp_path, "x\n1\n\n2\n"), None, None)
    assert len(read_columns(written(tmp_path, "x,y\n1,2\n\n2,3\n"), None, None)[1]) == 2


TABLE = "Date,name,x\n2020-01-01,a,1\n2020-01-02,b,2\n2020-01-03,c,3\n"


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        (TABLE, {"columns": ["nam"]}, r"data.columns has 'nam', .*: Date, name, x\. Did you mean 'name'"),
        (TABLE, {"time": "day"}, r"data.time has 'day', expected columns of .*: Date, name, x\."),
        (TABLE, {}, r"Column 'name' of .* holds 'a' in line 2, expected numbers\. Name columns of numbers by"),
        (TABLE.replace(",2\n", ",\n").replace(",3\n", ",NaN\n"), {"columns": ["x"]},
         r"Column 'x' of .* has 2 missing values, the first in line 3, expected none\. Fill them in or remove"),
        (TABLE.replace(",3", ",inf"), {"columns": ["x"]}, r"Column 'x' of .* holds 'inf' in line 4, expected numbers"),
        (TABLE.replace("01-03", "01-01"), {"columns": ["x"]},
         r"is not in the order of 'Date': line 4 has 2020-01-01 after 2020-01-02\. Sort the rows, and keep one"),
        (TABLE.replace("2020-01-02", "2020-01-01"), {"columns": ["x"]}, r"line 3 has 2020-01-01 after 2020-01-01"),
        (TABLE.replace("2020-01-02", "soon"), {"columns": ["x"]}, r"'Date' of .* holds 'soon' in line 3, expected dat"),
        (TABLE, {"columns": ["x"]}, r"series_prices_\w+_32 has 3 points, expected about 320.*lower data.length"),
        (TABLE.replace(",1", ",0"), {"columns": ["x"], "returns": "log"},
         r"data.returns is log, but column 'x' has 0 \(row 1\), expected values above zero\. Use data.returns=none"),
        (TABLE, {"returns": "logs"}, r"data.returns is 'logs', expected none, log, simple\. Did you mean 'log'\?"),
        (TABLE.replace(",3", ",3e39"), {"columns": ["x"]},
         r"'x' of .* holds numbers up to 3e\+39, expected up to 1e\+30"),
        (TABLE.replace(",2", ",1").replace(",3", ",1"), {"columns": ["x"]}, r"'x' of .* is constant, 1 in every row"),
        (TABLE.replace(",1", ",2e-40").replace(",2\n", ",1e-40\n").replace(",3", ",3e-40"), {"columns": ["x"]},
         r"'x' of .* holds numbers up to 3e-40, expected some of them above 1e-30\. Give it in another unit"),
        (TABLE.replace(",1", ",1600000001").replace(",2\n", ",1600000002\n").replace(",3", ",1600000003"),
         {"columns": ["x"]}, r"'x' of .* around 1600000002 that differ too little for float32, by 2\. Subtract a con"),
        (TABLE.replace(",1", ",4").replace(",3", ",1"), {"columns": ["x"], "returns": "simple"},
         r"'x return \(%\)' of .* is constant, -50 in every row: nothing to learn"),
        ("", {}, r"is empty, expected a CSV file with a line of names"),
        ("Date\n1\n2\n", {}, r"has no column beside that of the time"),
        ("a,a\n1,2\n", {}, r"has two columns 'a', expected a name for each"),
        ("a,b\n1,2\n1\n", {}, r"has 1 values in line 3, expected 2"),
        ('a,b\n1,"2\n', {}, r"is no CSV file: "),
        (TABLE.replace("Date", ""), {}, r"Column 1 of .* has no name\. Name the others by data.columns.* index=False"),
        (TABLE.replace(",", ";"), {}, r"has its values separated by ';', expected by commas, and numbers with decimal"),
        (TABLE.replace(",3", ',"3,5"'), {"columns": ["x"]}, r"holds '3,5' in line 4, expected numbers\. Write them wi"),
        (TABLE, {"columns": ["x", "x"]}, r"data.columns has 'x' twice, expected each column once"),
        (TABLE.replace("x", "step"), {"columns": ["step"]}, r"has a column 'step', as the files of samples have one"),
        (TABLE.replace("x", "step"), {"columns": ["step"], "returns": "log"}, r"has 2 points, expected"),
    ],
    ids=lambda value: None if isinstance(value, str) else str(value),
)  # fmt: skip
def test_what_is_no_series_is_told_in_a_line(
    tmp_path: Path, text: str, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(GenlabError, match=message) as caught:
        SeriesFile(path=written(tmp_path, text), **settings)
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(GenlabError, match=r"data\.path is not given, expected a CSV file"):
        SeriesFile()
    with pytest.raises(GenlabError, match=r"data\.path is .*none\.csv, which cannot be read \(No such file"):
        SeriesFile(path=tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes(b"a\n\xe4\n")
    with pytest.raises(GenlabError, match=r"latin\.csv is not UTF-8 .* Save it as UTF-8"):
        SeriesFile(path=tmp_path / "latin.csv")
    with pytest.raises(GenlabError, match=r"expected a CSV file"):
        SeriesFile(path=tmp_path)


@pytest.mark.parametrize("real_root", ["series"], indirect=True)
def test_sp500_is_in_log_returns_of_the_closing_prices(real_root: Path) -> None:
    data = SP500(root=real_root, length=32)
    assert [len(data.tensors(split).x) for split in SPLITS] == [2987, 31, 31]
    assert data.spec.name == "sp500_32"
    # 1228.099976 on January 4, 1999, 1244.780029 the day after.
    assert float(data.tensors("train").x[0, 0, 0]) == pytest.approx(100 * math.log(1244.780029 / 1228.099976), rel=1e-5)
    assert float(data.tensors("train").x.min()) == pytest.approx(-9.4695, abs=1e-3), "October 15, 2008"


def test_windows_of_stochastic_volatility_are_independent_of_the_seed() -> None:
    data = StochasticVolatility(length=6, train_size=300)
    other = StochasticVolatility(length=6, train_size=300, seed=5)
    assert data.tensors("train").x.shape == (300, 1, 6)
    assert data.tensors("test").x.shape == (5000, 1, 6)
    assert torch.equal(data.tensors("train").x, other.tensors("train").x)
    assert not torch.equal(data.tensors("validation").x[:300], data.tensors("train").x)
    variance = float(data.tensors("test").x.var())
    assert variance == pytest.approx(math.exp(0.26**2 / (1 - 0.95**2) / 2), rel=0.1)


def test_a_series_of_ones_own_is_trained_and_judged_by_its_facts(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).standard_normal((600, 2))
    rows = [f"{row},{100 * math.exp(x / 10)},{y}" for row, (x, y) in enumerate(noise)]
    path = written(tmp_path, "\n".join(["time,price,volume", *rows]))
    result = train(
        tmp_path, "data=series", f"data.path={path}", "data.length=8", "data.columns=[price]", "data.returns=log",
        "evaluation.num_samples=120", model="gmm",
    )  # fmt: skip
    quality = result.quality
    assert (result.data.modality, result.data.split) == ("series", "test (disjoint windows of 8)")
    assert quality.get("autocorrelation_gap") > 0
    assert quality.get("autocorrelation_gap_chance") > 0
    assert quality.get("kurtosis_real") > 1
    assert quality.get("sliced_wasserstein") > 0, "windows are compared as the vectors that they are, too"
    samples = run_folder(tmp_path).joinpath("samples", "quick.csv").read_text().splitlines()
    assert samples[0] == "window,step,price log return (%)"
    assert len(samples) == 1 + 120 * 8
