"""Published figures: what the file holds, and that they stand beside ours in every format and never among them."""

from __future__ import annotations

import csv
import io
import math
import re
from pathlib import Path

import pytest
from rich.console import Console

import genlab
from genlab.comparison.columns import columns
from genlab.comparison.csv_table import to_csv
from genlab.comparison.latex import to_latex
from genlab.comparison.markdown import to_markdown
from genlab.comparison.published import beside, published
from genlab.comparison.ranking import Comparison, compare
from genlab.comparison.reading import RunResult
from genlab.comparison.report import to_html
from genlab.comparison.terminal import print_comparison
from tests.comparison.results import compared, run

GLOW = "Grathwohl et al. 2019, table 2"
BINARY = {"data__name": "binarized_mnist", "data__levels": 2, "data__split": "test (binarized once, seed 0)"}

NANOGPT = {"data__name": "shakespeare", "data__split": "nanoGPT's validation", "data__unit": "bits/char"}


def made(number: int, bits_per_dim: float, seed: int = 0, **changes: object) -> RunResult:
    changes = {"model__name": "made", "model__family": "made", "likelihood__kind": "exact", **changes}
    return run(number, seed, likelihood__bits_per_dim=bits_per_dim, **changes)


def terminal(comparison: Comparison, width: int = 120) -> str:
    file = io.StringIO()
    print_comparison(comparison, Console(file=file, width=width, highlight=False))
    return file.getvalue()


def test_each_entry_is_a_number_with_its_unit_kind_and_source() -> None:
    entries = published()
    assert len({(entry.data, entry.method) for entry in entries}) == len(entries)
    for entry in entries:
        assert float(entry.value) > 0
        of_likelihood = entry.figure == "likelihood"
        assert entry.unit in (("bits/dim", "nats", "nats/char") if of_likelihood else ("Inception FID",))
        assert entry.kind in (("exact", "bound", "estimate") if of_likelihood else ("of samples",))
        assert entry.figure in {column.key for column in columns()}
        assert entry.statistic
        assert bool(entry.deviation) == entry.statistic.startswith("mean"), "of one run there is none"
        assert re.search(r"\d{4}, table \d|tutorial|README, \d{4}", entry.source)
        if entry.unit == "nats":
            assert entry.preprocessing in ("static binarization", "dynamic binarization")
        # A binary image has at most one bit per dimension; no reported figure is above 8 bits of 256 levels.
        most = {"nats": 784 * math.log(2), "bits/dim": 8, "nats/char": math.log(65), "Inception FID": 30}
        assert float(entry.value) < most[entry.unit]


def test_the_bounds_of_importance_weighted_autoencoders_are_those_of_their_paper() -> None:
    found = {entry.method: entry for entry in published() if entry.source.startswith("Burda")}
    values = {method: (entry.value, entry.preprocessing) for method, entry in found.items()}
    assert values == {
        "VAE, one layer": ("86.76", "dynamic binarization"),
        "IWAE, one layer, 50 draws": ("84.78", "dynamic binarization"),
        "IWAE, two layers, 50 draws": ("82.90", "dynamic binarization"),
    }


def test_a_distance_in_other_features_is_no_neighbour_of_ours() -> None:
    """A FID of the literature stands only beside one in the same features, and says which of several runs it is."""
    changes = {"data__name": "cifar10", "model__name": "edm", "model__family": "diffusion"}
    assert beside(compared(run(**changes)).groups[0]) == []
    comparison = compared(run(**changes, quality__inception_fid=5.25))
    (line, conditional) = beside(comparison.groups[0])
    assert (line.method, line.published, line.ours) == ("EDM", "1.97 Inception FID", "edm 5.25")
    assert (line.statistic, line.kind_of_ours) == ("lowest of three", "of 10,000 samples")
    assert conditional.published == "1.79 Inception FID"
    gans = compared(run(model__family="gan", quality__inception_fid=5.25))
    assert "6.7 ± 0.4 Inception FID" in {line.published for line in beside(gans.groups[0])}
    for text in (terminal(comparison), to_markdown(comparison), to_latex(comparison), to_html(comparison)):
        assert "lowest of three" in re.sub(r"\s+", " ", text)


def test_what_was_not_found_again_says_so() -> None:
    lines = beside(compared(made(1, 0.157, **BINARY)).groups[0])
    assert [line.source.endswith("(unconfirmed)") for line in lines] == [True, False]


def test_families_are_those_of_the_models() -> None:
    models = Path(genlab.__file__).parent / "models"
    families = {name for path in models.glob("*.py") for name in re.findall(r'    family = "(\w+)"', path.read_text())}
    assert {entry.family for entry in published()} <= families


def test_a_figure_stands_beside_the_lowest_of_ours_of_its_family() -> None:
    figures: list[dict[str, object]] = [
        {"likelihood__bits_per_dim": 1.2},
        {"likelihood__bits_per_dim": 0.1, "model__family": "other"},
        {"likelihood__bits_per_dim": 0.5, "likelihood__of": "p(x|y)"},
        {"likelihood__bits_per_dim": 0.9, "likelihood__kind": "ode"},
        {"likelihood__bits_per_dim": 0.9, "likelihood__kind": "dequantized-ode"},
        {"likelihood__bits_per_dim": 0.8, "likelihood__examples": 128},
    ]
    seeds = [run(9, seed, likelihood__bits_per_dim=1.08 + seed / 100) for seed in range(2)]
    comparison = compare([*seeds, *(run(number, **changes) for number, changes in enumerate(figures))])
    lines = {line.method: line for line in beside(comparison.groups[0])}
    assert lines["Glow"].published == "1.05 bits/dim"
    assert (lines["Glow"].source, lines["Glow"].kind) == (GLOW, "bound")
    assert (lines["Glow"].ours, lines["Glow"].kind_of_ours) == ("flow 1.0850 ± 0.0071", "dequantized-16")
    assert "PixelCNN" not in " ".join(lines), "no run of that family"


def test_ours_is_in_the_unit_of_the_paper() -> None:
    nats = 85.63
    (group,) = compared(made(1, nats / (784 * math.log(2)), **BINARY)).groups
    assert {line.ours for line in beside(group)} == {"made 85.63 ± 1.41"}
    assert [line.published for line in beside(group)] == ["88.40 nats", "86.64 nats"]


@pytest.mark.parametrize("changes", [{"data__name": "digits"}, {"data__split": "validation"}, {"model__family": "new"}])
def test_where_none_is_known_none_is_shown(changes: dict[str, object]) -> None:
    comparison = compared(run(**changes))
    assert beside(comparison.groups[0]) == []
    for text in (terminal(comparison), to_markdown(comparison), to_latex(comparison), to_html(comparison)):
        assert "ublished figure" not in text
    (row,) = csv.DictReader(io.StringIO(to_csv(comparison)))
    assert row["published"] == ""


def test_every_format_names_value_unit_and_source() -> None:
    comparison = compared(run())
    for text in (terminal(comparison), to_markdown(comparison), to_latex(comparison), to_html(comparison)):
        assert "1.05 bits/dim" in text
        assert GLOW in text
        assert "not ranked" in re.sub(r"\s+", " ", text)
    (row,) = csv.DictReader(io.StringIO(to_csv(comparison)))
    glow, ffjord, *_ = row["published"].split("); ")
    assert glow == f"Glow 1.05 bits/dim (bound, one run; {GLOW}; uniform dequantization"
    assert ffjord.startswith("FFJORD 0.99")


def test_no_published_figure_is_marked_or_ranked() -> None:
    # The best published figure is below all of ours: the mark stays with the best of ours.
    comparison = compared(run(1, likelihood__bits_per_dim=1.2), run(2, likelihood__bits_per_dim=1.1))
    assert re.findall(r"\*\*(\d[\d.]*) ±", to_markdown(comparison))[0] == "1.1000"
    for entry in published():
        assert f"**{entry.value}" not in to_markdown(comparison)
        assert f"<strong>{entry.value}" not in to_html(comparison)
        assert rf"\textbf{{{entry.value}" not in to_latex(comparison)
    assert len(list(csv.DictReader(io.StringIO(to_csv(comparison))))) == 2
    sortable = re.search(r'<table class="sortable">.*?</table>', to_html(comparison), re.DOTALL)
    assert sortable is not None
    assert "Glow" not in sortable[0]


def test_a_published_figure_stands_beside_its_own_split_in_its_own_unit() -> None:
    ours = run(0, model__name="transformer", model__family="transformer", likelihood__bits_per_dim=2.0, **NANOGPT)
    (line,) = beside(compare([ours]).groups[0])
    assert line.published == "1.4697 nats/char"
    assert line.ours.startswith(f"transformer {2 * math.log(2):.4f}")
    other = run(0, model__name="transformer", model__family="transformer", **NANOGPT | {"data__split": "test"})
    assert beside(compare([other]).groups[0]) == []


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_terminal_holds_the_table_of_every_published_figure(width: int) -> None:
    runs = [
        run(number, model__name=family, model__family=family, likelihood__bits_per_dim=0.2, **changes)
        for changes in (BINARY, NANOGPT, {})
        for number, family in enumerate(sorted({entry.family for entry in published()}))
    ]
    comparison = compare(runs)
    text = terminal(comparison, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for entry in published():
        if entry.figure != "likelihood":
            continue
        assert f"{entry.value} {entry.unit}" in text
        line = next(line for line in text.splitlines() if f" {entry.value} {entry.unit}" in line)
        # At 120 columns nothing wraps.
        assert width < 120 or (line.startswith(entry.method) and entry.source in line), line
