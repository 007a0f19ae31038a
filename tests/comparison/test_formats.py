from __future__ import annotations

import csv
import io
import re

import numpy as np
import pytest
from rich.console import Console

from genlab.comparison.cells import cell, notes
from genlab.comparison.columns import columns
from genlab.comparison.csv_table import to_csv
from genlab.comparison.latex import to_latex
from genlab.comparison.markdown import to_markdown
from genlab.comparison.ranking import Comparison, compare
from genlab.comparison.reading import RunResult, Skipped
from genlab.comparison.references import BASELINE, REFERENCES
from genlab.comparison.report import to_html
from genlab.comparison.terminal import print_comparison
from genlab.measure.figures import short_count
from genlab.modalities import all_modalities
from genlab.models.gmm import GMM
from tests.comparison.results import compared, many_compared, run

NASTY = r"""a|b`c*_<i>&"'\[x](y){%$#~^}[/bold]"""


def terminal(comparison: Comparison, width: int = 120) -> str:
    file = io.StringIO()
    print_comparison(comparison, Console(file=file, width=width, highlight=False))
    return file.getvalue()


def table_of_ten() -> Comparison:
    runs = [
        run(
            model,
            seed,
            model__name=f"family-{model}",
            model__variant=f"variant {model}, with 3 scales",
            likelihood__bits_per_dim=1 + model / 10 + seed / 100,
            likelihood__of="p(x|y)" if model == 9 else "p(x)",
            quality__fid=123.4 + model + seed,
            sampling__nfe=784,
            training__device=f"device {model % 3}",
        )
        for model in range(10)
        for seed in range(3)
    ]
    return compare(runs)


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_terminals_table_cuts_and_wraps_no_number(width: int) -> None:
    comparison = table_of_ten()
    text = terminal(comparison, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    (group,) = comparison.groups
    first, _, second = text.partition("The same rows: ")
    left_out = text[text.index("No room for") :].split(":")[0] if "No room for" in text else ""
    assert ("coverage" in second.split(".")[0]) == (width == 60)
    assert (second == "") == (width >= 120), "at 120 columns one table has all"
    assert (left_out == "") == (width >= 80), "two tables have it"
    for row in group.rows:
        assert any(
            line.startswith(row.model)
            and cell(row, columns()[0]).value in line
            and cell(row, columns()[2]).value in line
            for line in first.splitlines()
        ), row.model


@pytest.mark.parametrize("width", [60, 80, 120])
def test_what_one_table_has_no_room_for_stands_in_a_second_with_a_line_for_each_model(width: int) -> None:
    """What a table promises of each row is its likelihood with its kind, its distance beside the floor's, its cost."""
    about = {"quality__neighbour_ratio": 1.25, "quality__inception_score": 7.5, "training__wall_seconds": 1234.0}
    floor = run(9, model__name="floor", model__family="floor", likelihood=None, quality__fid=0.25)
    comparison = compared(*(run(model, model__name=f"family-{model}", **about) for model in range(3)), floor)
    text = terminal(comparison, width)
    assert max(map(len, text.splitlines())) <= width
    first, _, second = text.partition("The same rows: ")
    assert "dequantized-16" in first
    assert re.search(r"^floor +0\.25 ", first, re.MULTILINE), "it is called so once"
    (group,) = comparison.groups
    names = {column.heading: column for column in group.columns}
    for row in group.rows[1:]:
        shown = " ".join(line for line in text.splitlines() if line.startswith(f"{row.model} "))
        for name in ("NLL", "FID", "KID", "ms per sample", "NFE", "parameters", "train minutes"):
            assert cell(row, names[name]).value in shown.replace("*", ""), (name, row.model)
        assert second.count(f"\n{row.model} ") == (width < 120)
    assert "variant" not in second.split("Rows by")[0]


def test_a_second_table_says_what_tells_rows_of_one_model_apart() -> None:
    comparison = compared(*(run(number, model__variant=f"{number} scales") for number in range(2)))
    second = terminal(comparison, 70).partition("The same rows: ")[2]
    assert all(second.count(f"{number} scales") == 1 for number in range(2))


def test_a_column_that_only_the_floor_has_is_left_out() -> None:
    floor = run(3, model__name="floor", model__family="floor", likelihood=None, quality__asked_class_accuracy=1.0)
    assert "asked class" not in to_markdown(compared(run(1), floor))
    assert "asked class" in to_markdown(compared(run(1, quality__asked_class_accuracy=0.5), floor))
    assert "asked class" in to_markdown(compared(floor))


def test_what_a_split_is_stands_behind_its_name() -> None:
    text = to_markdown(compared(run(data__split="test (10 % of each class)")))
    assert "test split (10 % of each class), protocol" in text


def test_the_kind_stands_in_the_cell_and_the_spread_beside_the_mean() -> None:
    values = [1.0, 1.25, 1.75]
    comparison = compare([run(1, seed, likelihood__bits_per_dim=value) for seed, value in enumerate(values)])
    words = cell(comparison.groups[0].rows[0], columns()[0])
    assert words.text == f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}"
    assert words.remark == "dequantized-16"
    conditional = compared(run(likelihood__of="p(x|y)")).groups[0].rows[0]
    assert cell(conditional, columns()[0]).remark == "dequantized-16, p(x|y)"
    partial = compared(run(1, 0), run(1, 1, quality__fid=None)).groups[0].rows[0]
    assert cell(partial, columns()[2]).remark == "1 of 2 seeds"


def test_each_format_shows_the_standard_error_of_one_seed_and_says_so() -> None:
    comparison = compared(run(1), run(2, likelihood__kind="ode"))
    for text in (terminal(comparison, 200), to_markdown(comparison), to_html(comparison), to_latex(comparison)):
        assert re.search(r"1\.0772[^0-9]*(±|\$\\pm\$)[^0-9]*0\.0026", text)
        words = " ".join(text.replace(r"$\pm$", "±").split())
        assert "± is the standard deviation over seeds; in rows of one seed the figure's own standard error" in (
            words.replace("&#39;", "'")
        )
        assert "down to the first that differs from it beyond chance" in words
    line = next(csv.DictReader(io.StringIO(to_csv(comparison))))
    assert (line["likelihood_se"], line["likelihood_sd"], line["likelihood_count"]) == ("0.0026", "", "1")
    assert "fid_se" not in line, "there is none"


def test_each_format_says_of_how_many_examples_a_likelihood_is_that_is_not_of_all() -> None:
    comparison = compared(run(1), run(2, likelihood__kind="ode", likelihood__examples=1280))
    for text in (terminal(comparison), to_markdown(comparison), to_html(comparison), to_latex(comparison)):
        assert "1,280 examples" in text
        assert "10,000 examples" not in text
    lines = csv.DictReader(io.StringIO(to_csv(comparison)))
    assert [line["likelihood_examples"] for line in lines] == ["10000", "1280"]


ODE = {"solver": "dopri5", "rtol": 1e-6, "atol": 1e-6, "trace": "hutchinson", "probes": 2, "dequantization_draws": 1}


def test_each_format_says_how_an_estimate_was_computed_and_that_it_is_no_bound() -> None:
    by_ode = {"likelihood__kind": "dequantized-ode", "likelihood__ode": ODE}
    comparison = compared(run(1), run(2, model__name="diffusion", **by_ode), run(3, model__name="fm", **by_ode))
    expected = (
        "dequantized-ode of diffusion, fm: dopri5, rtol 1e-06, atol 1e-06; trace by Hutchinson with 2 probes for each "
        "example; 1 draw of dequantization noise."
    )
    for text in (terminal(comparison, 200), to_markdown(comparison), to_html(comparison), to_latex(comparison)):
        assert expected in " ".join(text.split())
    for text in (terminal(comparison, 200), to_markdown(comparison), to_html(comparison)):
        assert "dequantized-ode of discrete data, the estimate of a bound" in " ".join(text.split())


def test_units_follow_the_data() -> None:
    nats = compared(run(data__levels=None, likelihood__bits_per_dim=None, likelihood__nats=1.5))
    assert "NLL (nats)" in to_markdown(nats)
    assert "NLL (bits/dim)" in to_markdown(compared(run()))
    assert "nats" in terminal(nats)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (950, "950"), (1310000, "1.31M"), (999_999, "1.00M"), (43_200, "43.2k"), (484.6, "485"), (0.5, "0.5")],
)
def test_counts_are_short(value: float, text: str) -> None:
    assert short_count(value) == text


def test_no_row() -> None:
    nothing = compare([], [Skipped("x.json", "it is no JSON")])
    assert to_markdown(nothing).startswith("No results.")
    assert "x.json: it is no JSON" in terminal(nothing)
    assert list(csv.DictReader(io.StringIO(to_csv(nothing)))) == []
    assert "tabular" not in to_latex(nothing)


def test_ten_thousand_results_are_written() -> None:
    comparison = many_compared()
    assert to_markdown(comparison).count("\n| flow |") == 5000
    assert len(to_csv(comparison).splitlines()) == 5001
    assert to_latex(comparison).count(r"\begin{table}") == 10


def test_names_are_escaped() -> None:
    comparison = compared(run(model__name=NASTY, model__variant=NASTY, data__name=NASTY, training__device=NASTY))
    (line,) = [line for line in to_markdown(comparison).splitlines() if line.startswith("| a")]
    assert len(re.findall(r"(?<!\\)\|", line)) == 4 + len(comparison.groups[0].columns) + 1
    assert not re.findall(r"(?<!\\)[<`_]", line)
    assert NASTY in terminal(comparison, 400), "rich's markup is text here"
    (row,) = csv.DictReader(io.StringIO(to_csv(comparison)))
    assert (row["model"], row["data"], row["device"]) == (NASTY, NASTY, NASTY)
    body = to_latex(comparison).split(r"\midrule")[1].split(r"\bottomrule")[0]
    assert len(re.findall(r"(?<!\\)&", body)) == 1 + len(comparison.groups[0].columns)
    assert not re.findall(r"(?<!\\)[%#_]", body)
    assert body.count("{") - body.count(r"\{") == body.count("}") - body.count(r"\}")


def test_csv_holds_the_numbers_as_they_are() -> None:
    fids = [12.123456789012345, 13.9]
    comparison = compare([run(1, seed, quality__fid=fid, quality__kid=None) for seed, fid in enumerate(fids)])
    (row,) = csv.DictReader(io.StringIO(to_csv(comparison)))
    assert float(row["fid"]) == pytest.approx(np.mean(fids), rel=1e-15)
    assert float(row["fid_sd"]) == pytest.approx(np.std(fids, ddof=1), rel=1e-12)
    assert (row["fid_count"], row["seeds"], row["kid"]) == ("2", "0 1", "")
    assert (row["likelihood_kind"], row["likelihood_of"], row["likelihood_unit"]) == (
        "dequantized-16", "p(x)", "bits/dim",
    )  # fmt: skip


def test_best_is_bold_in_each_format() -> None:
    comparison = compared(run(1, model__name="a", quality__fid=2.0), run(2, model__name="b", quality__fid=3.0))
    assert "**2.00**" in to_markdown(comparison)
    assert "**3.00**" not in to_markdown(comparison)
    assert r"\textbf{2.00}" in to_latex(comparison)
    assert r"\textbf{3.00}" not in to_latex(comparison)
    file = io.StringIO()
    print_comparison(comparison, Console(file=file, width=120, highlight=False, force_terminal=True))
    assert re.search(r"\x1b\[1;32m2\.00", file.getvalue())
    assert not re.search(r"\x1b\[1;32m3\.00", file.getvalue())


def test_best_is_starred_where_no_bold_is_shown() -> None:
    comparison = compared(run(1, model__name="a", quality__fid=2.0), run(2, model__name="b", quality__fid=3.0))
    text = terminal(comparison)
    assert "*2.00" in text
    assert "*3.00" not in text
    assert "*: the best of those" in text


def test_the_floor_adds_no_device() -> None:
    floor = run(3, model__name="floor", model__family="floor", training__device="none", likelihood=None)
    assert "All on cpu x86_64, 2 threads." in terminal(compared(run(1), run(2), floor))
    two = terminal(compared(run(1), run(2, training__device="GPU"), floor))
    assert "B: GPU." in two
    assert "none" not in two


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            "python train.py model=flow data=toy2d data.dataset=two_moons evaluation=quick seed=3 model.lr=0.1",
            "No baseline: python train.py model=gmm data=toy2d data.dataset=two_moons evaluation=quick adds it.",
        ),
        (
            "genlab train data=own 'data.path=/a b/c' trainer=cpu",
            "No baseline: python train.py model=gmm data=own 'data.path=/a b/c' adds it.",
        ),
        (
            "python train.py --config-dir=/my/conf model=x data=own",
            "No baseline: python train.py --config-dir=/my/conf model=gmm data=own adds it.",
        ),
        ("python scripts/evaluate.py run=3f2a91cc-s0 evaluation=paper", "No baseline."),
        ("python train.py experiment=recipe data.batch_size=8", "No baseline."),
    ],
)
def test_the_command_of_a_baseline_takes_the_data_from_a_row(command: str, said: str) -> None:
    """A data set's name says neither the option of its group nor the settings that make it."""
    (group,) = compared(run(1, command="python train.py experiment=other"), run(2, command=command)).groups
    (note,) = notes(group)
    assert note == said


def test_a_baseline_is_suggested_only_for_data_that_it_takes() -> None:
    text = {"data__modality": "text", "data__shape": [64], "quality": None}
    (group,) = compared(run(1, command="python train.py model=made data=my_text", **text)).groups
    assert [note for note in notes(group) if "baseline" in note] == ["No baseline."]
    for modality in all_modalities():
        if modality.features is not None:
            assert set(modality.layouts) & set(GMM.layouts), modality.name


def test_a_family_is_a_reference_by_declaration_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REFERENCES, "histogram", BASELINE)
    monkeypatch.delitem(REFERENCES, "gmm")
    (group,) = compared(run(1), run(2, model__family="histogram"), run(3, model__family="gmm")).groups
    assert [row.reference for row in group.rows] == ["baseline", "", ""]
    (alone,) = compared(run(1), run(3, model__family="gmm")).groups
    assert "model=histogram data=mnist" in notes(alone)[0]


def test_a_missing_baseline_and_missing_classes_are_said_in_every_readable_format() -> None:
    collapsed = run(1, quality__missing_classes=3, quality__recall_by_class=[0.5] * 10)
    comparison = compared(run(0), collapsed)
    words = (
        f"{collapsed.run_id}: hardly any sample is of 3 of 10 classes",
        "No baseline: python train.py model=gmm data=mnist adds it.",
    )
    for text in (terminal(comparison, 200), to_markdown(comparison).replace("\\", ""), to_html(comparison)):
        assert all(word in text for word in words)
        assert text.count("hardly any sample") == 1
    with_baseline = compared(run(0), run(1, model__family="gmm", model__name="gmm"))
    assert "No baseline" not in terminal(with_baseline, 200)


def test_every_table_says_which_way_is_better() -> None:
    comparison = compared(run(quality__neighbour_ratio=1.0))
    assert re.search(r"\| FID ↓ \|.* coverage ↑ \| neighbour ratio \| NFE ↓", to_markdown(comparison))
    assert re.search(r"FID \$\\downarrow\$ .* coverage \$\\uparrow\$ & neighbour ratio & NFE", to_latex(comparison))
    assert re.search(r"bits/dim ↓ +↓ +↓ sion ↑ ", terminal(comparison, 200))


def test_a_terminal_whose_letters_lack_arrows_has_none() -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding="latin-1", errors="backslashreplace")
    print_comparison(compared(run()), Console(file=file, width=200, highlight=False))
    file.seek(0)
    assert "FID" in (text := file.read())
    assert "u2193" not in text


def test_a_setting_without_a_break_is_folded_and_not_cut_where_it_differs() -> None:
    command = "python train.py data=mnist model.multiscale.dequantization_hidden="
    comparison = compare([run(number, command=f"{command}{width}") for number, width in enumerate((256, 512))])
    text = "".join(line[:22].rstrip() for line in terminal(comparison).splitlines())
    assert "dequantization_hidden=256" in text
    assert "dequantization_hidden=512" in text


def test_why_figures_are_missing_is_said_in_every_readable_format() -> None:
    alone = {"family": "gan", "variant": "", "parameters": 1}
    gan = {"likelihood": None, "missing": {"likelihood": "it has none", "likelihood_last": "it has none"}}
    few = {"quality__fid": None, "quality__kid": None, "quality__kid_sd": None}
    comparison = compared(
        run(0, model__family="floor", likelihood=None, likelihood_last=None),
        run(1, model={"name": "gan", **alone}, **gan, reference__true_entropy_nats=1.0),
        run(2, model={"name": "sngan", **alone}, **gan, reference__true_entropy_nats=1.0),
        run(3, **few),
        run(4, quality=None),
        run(5),
    )
    lines = ("No likelihood of gan and sngan: it has none.", "No FID and KID of flow: not measured.")
    said = [note for group in comparison.groups for note in notes(group)]
    assert [note for note in said if note.startswith("No likelihood")] == [lines[0]], "of the floor it needs no word"
    assert "No sample quality of flow: not measured." in said
    for text in (terminal(comparison, 200), to_markdown(comparison).replace("\\", ""), to_html(comparison)):
        assert all(text.count(line) == 1 for line in lines)
    (line,) = [line for line in csv.DictReader(io.StringIO(to_csv(comparison))) if line["model"] == "sngan"]
    assert line["missing"] == "likelihood: it has none"


def test_rows_of_different_code_are_told_apart_in_one_line() -> None:
    def by(number: int, version: str, sha256: str | None = None, **changes: object) -> RunResult:
        known = {} if sha256 is None else {"code_sha256": sha256}
        return run(number, model__name=f"m{number}", code_version=version, **known, **changes)

    def said(*runs: RunResult) -> list[str]:
        (group,) = compared(*runs).groups
        return [note for note in notes(group) if "code" in note]

    a, b = "aa" * 32, "bb" * 32
    assert said(by(1, "0.1.0 a", a), by(2, "0.1.0 a", a)) == []
    assert said(by(1, "0.1.0 a", a), by(2, "0.1.0 docs", a)) == [], "another commit, but the same files"
    assert said(by(1, "0.1.0 a"), by(2, "0.1.0 a")) == []
    runs = by(1, "0.1.0 a", a), by(2, "0.1.0 a", a), by(3, "0.1.0 b", b)
    line = "Rows come from different code: m1 and m2 by 0.1.0 a; m3 by 0.1.0 b."
    assert said(*runs) == [line]
    for text in (terminal(compared(*runs), 200), to_markdown(compared(*runs)), to_html(compared(*runs))):
        assert text.count(line) == 1
    trained = [{"version": "0.1.0 b", "sha256": b}]
    measured = by(2, "0.1.0 a", a, training__code=trained)
    assert said(by(1, "0.1.0 a", a), measured) == [
        "Rows come from different code: m1 by 0.1.0 a; m2 by 0.1.0 b, measured by 0.1.0 a."
    ]
    (_, other) = csv.DictReader(io.StringIO(to_csv(compared(by(1, "0.1.0 a", a), measured))))
    assert other["code_version"] == "0.1.0 b, measured by 0.1.0 a"
    (note,) = said(*(by(number, f"0.1.{number}") for number in range(8)))
    assert note.endswith("m4 by 0.1.4; 3 other versions.")
    (note,) = said(*(by(number, f"0.1.{number}") for number in range(6)))
    assert note.endswith("m4 by 0.1.4; m5 by 0.1.5."), "as short as the number of others"


def test_a_row_of_the_last_checkpoint_says_so_and_the_floor_has_none() -> None:
    (group,) = compared(
        run(0, model__name="floor", model__family="floor", training__checkpoint="none"),
        run(1, model__name="gan", training__checkpoint="last"),
        run(2),
    ).groups
    assert {row.model: row.note for row in group.rows} == {"floor": "", "gan": "last checkpoint", "flow": ""}
