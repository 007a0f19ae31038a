"""The registry of figures: one entry there is all that a new figure needs to be checked, shown and searched for."""

from __future__ import annotations

import ast
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from genlab.command.console import result_lines
from genlab.comparison.columns import columns
from genlab.comparison.csv_table import to_csv
from genlab.comparison.markdown import to_markdown
from genlab.comparison.ranking import Comparison, compare
from genlab.comparison.terminal import print_comparison
from genlab.core.errors import GenlabError
from genlab.loggers.protocols import result_figures
from genlab.measure.figures import FIGURES, Figure, Number, of_section, register, spreads
from genlab.measure.finished_run import FinishedRun
from genlab.measure.result import Result, ResultError
from genlab.runs.folder import RunDir
from genlab.sweeps.objectives import Objective, parse_objectives, validation_metrics
from genlab.sweeps.status import LiveStatus, headlines_text
from tests.comparison.results import result, run

NEW = Figure(
    "vendi", "quality", "Vendi score", short="Vendi", number=Number("fixed", 1), better="higher", basis="features",
    priority=13, minimum=1.0, spread="vendi_se", optional=True, headline=True, validated=True,
    warning="{value:.0f} kinds of samples in {classes} classes",
)  # fmt: skip
SPREAD = Figure("vendi_se", "quality", "Vendi score's error", minimum=0.0, optional=True)
PLACE = RunDir(Path("logs/runs/mnist/flow/3f2a91cc-s0"))


@pytest.fixture
def new() -> Iterator[Figure]:
    """A figure that a plug-in has registered."""
    register(NEW, SPREAD)
    yield NEW
    del FIGURES[NEW.key], FIGURES[SPREAD.key]


def printed(comparison: Comparison) -> str:
    file = io.StringIO()
    print_comparison(comparison, Console(file=file, width=200, highlight=False))
    return file.getvalue()


def lines(made: Result) -> dict[str, str]:
    return {name.strip(): words for name, words in result_lines(made, PLACE)}


def test_a_new_figure_is_checked_written_and_read(new: Figure) -> None:
    content = result(quality__vendi=7.25, quality__vendi_se=0.5)
    made = Result.of(content)
    assert made.value(new) == 7.25
    assert made.as_dict() == content
    for wrong, line in ((0.5, "quality.vendi is 0.5, expected at least 1.0"), ("7", "quality.vendi is a str")):
        with pytest.raises(ResultError, match=line):
            Result.of(result(quality__vendi=wrong))
    assert Result.of(result()).value(new) is None, "it is optional"


def test_a_result_of_a_figure_that_is_not_registered_is_refused() -> None:
    with pytest.raises(ResultError, match=r"quality\.vendi is no key of a result, unless of a plug-in"):
        Result.of(result(quality__vendi=7.25))


def test_a_new_figure_has_its_column_in_every_format(new: Figure) -> None:
    comparison = compare([run(1, quality__vendi=7.25), run(2, quality__vendi=9.0)])
    first = comparison.groups[0].rows
    assert [row.figures["vendi"].mean for row in first] == [7.25, 9.0]
    assert ["vendi" in row.best for row in first] == [False, True], "higher is better"
    assert "Vendi" in printed(comparison)
    assert "*9.0" in printed(comparison)
    assert "Vendi score" in to_markdown(comparison)
    header, line, *_ = to_csv(comparison).splitlines()
    assert "vendi,vendi_sd,vendi_se,vendi_count" in header
    assert "7.25" in line
    assert "9 kinds of samples in 10 classes." in printed(comparison)


def test_a_new_figure_is_shown_with_its_spread_and_its_warning(new: Figure) -> None:
    shown = lines(Result.of(result(quality__vendi=7.25, quality__vendi_se=0.5)))
    assert shown["Vendi score"] == "7.25 ± 0.5"
    assert shown["warning"] == "7 kinds of samples in 10 classes"


def test_a_new_figure_can_be_searched_for(new: Figure) -> None:
    assert parse_objectives("val/vendi", "val/fid") == (Objective("val/vendi", maximize=True),)


def test_a_new_figure_is_on_dashboards_and_in_the_live_table(new: Figure, tmp_path: Path) -> None:
    from genlab.loggers.wandb_workspace import build_workspace, describe_workspace
    from genlab.sweeps.jobs import Job
    from genlab.sweeps.places import Place

    assert result_figures(Result.of(result(quality__vendi=7.25)))["test/vendi"] == 7.25
    workspace = str(describe_workspace(build_workspace("p", "e", "n", None, None, [])))
    assert all(name in workspace for name in ("test/vendi", "val/vendi", "validation Vendi score, of few samples"))
    file = io.StringIO()
    table = LiveStatus([Job(0, ())], 1, 1, file)
    table.started(Job(0, ()), Place(), tmp_path / "0.log")
    table.reported(Job(0, ()), {"fraction": 0.5, "metrics": {"val/recall": 0.5, "val/vendi": 7.25}})
    table.console.print(table.render())
    assert "Vendi score 7.25" in file.getvalue(), "a headline, which recall is not"


def test_a_figure_cannot_take_the_key_of_another() -> None:
    with pytest.raises(ValueError, match="another figure 'fid'"):
        register(Figure("fid", "quality", "FID of mine"))
    register(FIGURES["fid"])  # the same again, as when a plug-in is loaded twice


def test_every_spread_is_a_figure_of_the_quality_or_a_field_of_the_likelihood() -> None:
    for figure in FIGURES.values():
        if figure.spread is not None and figure.section == "quality":
            assert FIGURES[figure.spread].section == "quality"
    assert {"kid_sd", "inception_kid_sd"} <= spreads()


def test_mifid_is_not_ranked_and_says_against_which_split_it_is() -> None:
    """Outside the features of Inception its threshold takes real images for copies."""
    mifid = FIGURES["mifid"]
    assert (mifid.better, mifid.priority) == (None, 0)
    assert "mifid" not in {column.key for column in columns()}
    shown = lines(Result.of(result(quality__mifid=3.0)))
    assert shown["MIFID (train)"] == "3"
    assert "training split" in mifid.about


def test_a_null_figure_shows_its_reason() -> None:
    made = result(quality__fid=None, sampling__ms_per_sample=None, likelihood=None)
    made["missing"] |= {"quality.fid": "a sample is not finite", "likelihood": "the gan family has none"}
    shown = lines(Result.of(made))
    assert shown["FID"] == "none: a sample is not finite"
    assert shown["likelihood"] == "none: the gan family has none"
    assert shown["sampling"] == "1 network evaluation, ms per sample none: not measured"
    assert lines(Result.of(result(quality=None)))["quality"] == "none: not measured"


def test_the_terminal_says_all_that_it_said_of_a_likelihood() -> None:
    one = {"bits_per_dim": 1.2, "bits_per_dim_se": 0.1, "nats": 9.0, "nats_se": 0.1, "kind": "dequantized-1"}
    shown = lines(Result.of(result(likelihood__one_draw=one)))
    assert shown["likelihood"] == "1.0772 ± 0.0026 bits/dim (dequantized-16)"
    assert shown["in nats"] == "585.4000 ± 1.4000"
    assert shown["of one draw"] == "1.2000 ± 0.1000 bits/dim (dequantized-1)"
    assert "computed by" not in shown
    ode = {"solver": "heun", "steps": 50, "trace": "exact", "dequantization_draws": 1}
    estimated = lines(Result.of(result(likelihood__kind="dequantized-ode", likelihood__ode=ode)))
    assert estimated["likelihood"] == "1.0772 ± 0.0026 bits/dim (dequantized-ode)"
    assert estimated["computed by"] == "heun, 50 steps; exact trace; 1 draw of dequantization noise"
    continuous = {"data__levels": None, "likelihood__bits_per_dim": None, "likelihood__bits_per_dim_se": None}
    shown = lines(Result.of(result(**continuous)))
    assert shown["likelihood"] == "585.4000 ± 1.4000 nats (dequantized-16)"
    assert "in nats" not in shown


@pytest.mark.parametrize(
    ("trained", "needed", "words"),
    [
        (1_310_000, None, "1,310,000 parameters"),  # of an older result
        (1_310_000, 1_310_000, "1,310,000 parameters"),
        (399_000, 171_000, "399,000 parameters, 171,000 of them to sample"),
        (1, 1, "1 parameter"),
    ],
)
def test_the_terminal_says_how_many_parameters_a_sample_needs(trained: int, needed: int | None, words: str) -> None:
    content = result(model__parameters=trained, model__variant="")
    content["model"] |= {} if needed is None else {"parameters_to_sample": needed}
    made = Result.of(content)
    assert lines(made)["model"] == f"flow, {words}"
    assert made.as_dict() == content


def test_bits_have_the_unit_of_the_data_where_a_job_of_a_sweep_ends() -> None:
    made = Result.of(result(data__unit="bits/char", likelihood__bits_per_dim=2.5))
    assert headlines_text(FinishedRun(PLACE, made)).startswith("2.5 bits/char, ")


def test_figures_of_the_terminal_are_in_the_order_of_the_registry() -> None:
    made = Result.of(result(quality__mmd=0.1, quality__sliced_wasserstein=0.2, quality__mifid=3.0))
    names = [name.strip() for name, _ in result_lines(made, PLACE)]
    labels = [figure.label for figure in of_section("quality") if figure.label in names]
    assert [name for name in names if name in labels] == labels
    assert {"MMD", "sliced Wasserstein", "MIFID (train)"} <= set(labels)


@pytest.mark.parametrize("metric", ["val/recall", "val/loss"])
def test_only_figures_of_samples_are_missing_for_want_of_samples(metric: str, tmp_path: Path) -> None:
    from genlab.measure.finished_run import FinishedRun
    from genlab.runs.metrics_csv import MetricsCsv
    from genlab.sweeps.objectives import values_of

    MetricsCsv(tmp_path / "metrics.csv").log({"val/nats": 1.0}, 100)
    made = FinishedRun(RunDir(tmp_path), Result.of(result()))
    with pytest.raises(GenlabError) as error:
        values_of(made, [Objective(metric)], "val/nats")
    assert ("validation_samples" in str(error.value)) == (metric == "val/recall")


def test_what_a_search_can_optimize_is_what_validation_measures() -> None:
    assert validation_metrics() == {
        "val/bits_per_dim": False,
        "val/nats": False,
        "val/fid": False,
        "val/recall": True,
        "val/sliced_wasserstein": False,
        "val/class_total_variation": False,
        "val/ngram_divergence": False,
        "val/column_distance": False,
        "val/loss": False,
    }


SOURCE = Path(__file__).parents[2] / "src" / "genlab"
SHOWN = ("command", "comparison", "loggers", "sweeps", "training/callbacks/display.py")
"""All that shows or optimizes figures, and derives from the registry which there are."""


def strings(file: Path) -> set[str]:
    """The strings of a module, but for its docstrings."""
    tree = ast.parse(file.read_text())
    found: list[Any] = [node for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    documented = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    return {node.value for node in found if isinstance(node.value, str) and id(node) not in documented}


def test_no_figure_of_samples_is_named_where_figures_are_shown() -> None:
    keys = {figure.key for figure in of_section("quality")} - {"precision"}  # that of arithmetic has the same name
    names = keys | {f"val/{key}" for key in keys}
    for place in SHOWN:
        path = SOURCE / place
        for file in [path] if path.is_file() else path.rglob("*.py"):
            assert strings(file) & names == set(), file


def test_a_figure_of_a_diverged_model_is_not_written_in_full() -> None:
    for number in (Number("fixed", 2), Number("significant", 3)):
        assert number.write(7.3683563551e35) == "7.37e+35"
        assert number.write(-7.3683563551e35, 4) == "-7.37e+35"
    assert Number("fixed", 2).write(123_456_789.5) == "123,456,789.50"
    assert Number("fixed", 2).write(math.inf) == "inf"
