"""The documentation tells the truth: its commands compose, its errors are the real ones, its tables the configs'."""

from __future__ import annotations

import json
import re
import shlex
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from genlab.command import cli, schemas
from genlab.command.config import check_config
from genlab.command.entry import config_folder
from tests.documented import DOCS, commands, one_by_one
from tests.tiny import ROOT

sys.path.append(str(DOCS))  # behind all packages: only `making` is looked for there

from making import choosing, gallery, models, site, worth
from making.measured import RESULTS, comparisons, single_runs
from making.text import read_settings

PAGES = sorted([ROOT / "README.md", ROOT / "results" / "README.md", *DOCS.glob("*.md"), *DOCS.glob("models/*.md")])
ELSEWHERE = {"extending.md": "needs the plug-in that it builds, see tests/test_extending.py", "errors.md": "see below"}
"""Pages whose commands are run by other tests."""

SCHEMAS = {
    "train": schemas.TrainConfig,
    "train_extractor": schemas.ExtractorConfig,
    "evaluate": schemas.EvaluateConfig,
    "evaluate_samples": schemas.EvaluateSamplesConfig,
    "sample": schemas.SampleConfig,
    "reconstruct": schemas.ReconstructConfig,
    "interpolate": schemas.InterpolateConfig,
    "traverse": schemas.TraverseConfig,
    "detect": schemas.DetectConfig,
    "inpaint": schemas.InpaintConfig,
    "augment": schemas.AugmentConfig,
    "export": schemas.ExportConfig,
    "compare": schemas.CompareConfig,
    "explore": schemas.ExploreConfig,
    "anomalies": schemas.AnomaliesConfig,
    "dashboard": schemas.DashboardConfig,
}
"""What each command checks its config by, before it starts."""


@cache
def check(command: str, overrides: tuple[str, ...]) -> None:
    if command == "evaluate" and any(word.startswith("samples=") for word in overrides):
        command = "evaluate_samples"  # has data of its own, and no run
    name = "config" if command == "train" else command
    with initialize_config_dir(str(config_folder(name))):
        config = compose(name, list(overrides))
    if command == "evaluate_samples":  # the budget that the data brings is one of trainings
        config = OmegaConf.masked_copy(config, [key for key in config if key != "budget"])
    check_config(config, SCHEMAS[command])


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in ELSEWHERE], ids=lambda page: page.stem)
def test_every_command_of_a_page_composes(page: Path) -> None:
    for command, words in commands(page.read_text()):
        for overrides in one_by_one(words):
            check(command, overrides)


def test_commands_are_found_in_blocks_fences_and_lines() -> None:
    text = "Say `python train.py a=1`.\n\n    python scripts/compare.py \\\n        run=<x y>  # why\n\n"
    text += "```bash\ngenlab sample n=2\n```\n"
    assert commands(text) == [("compare", ("run=x",)), ("sample", ("n=2",)), ("train", ("a=1",))]
    assert one_by_one(("-m", "a=1,2", "b=3")) == [("a=1", "b=3"), ("a=2", "b=3")]
    assert one_by_one(("model.lr=tag(log, interval(1e-4, 1))",)) == [("model.lr=0.0001",)]


def errors() -> list[tuple[str, str]]:
    """The commands of the page of errors, each with what it prints."""
    return re.findall(r"```bash\n(.*?)\n```\n+```text\n(.*?)\n```", (DOCS / "errors.md").read_text(), re.DOTALL)


@pytest.mark.parametrize(("command", "message"), errors(), ids=lambda text: text.replace("python ", "")[:40])
def test_an_error_is_printed_as_its_page_says(
    command: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    rows = "".join(f"{20 + n % 40},{'rural' if n % 2 else 'urban'}\n" for n in range(60))
    (tmp_path / "people.csv").write_text(f"age,home\n{rows},rural\n")
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    _, script, *arguments = shlex.split(command)
    monkeypatch.setattr(sys, "argv", [script])
    assert getattr(cli, Path(script).stem)(arguments) == 2
    printed = capfd.readouterr().err.strip()
    assert printed.replace(", ".join(models.names()), "<choices>") == message


def test_there_are_errors() -> None:
    assert len(errors()) >= 12


READ_ON_GITHUB = sorted(
    [*ROOT.glob("*.md"), *DOCS.glob("*.md"), *DOCS.glob("models/*.md"), *(ROOT / "results").rglob("*.md"),
     *(ROOT / ".github").rglob("*.md")]
)  # fmt: skip
LINK = re.compile(r"\]\(([^)#\s]*)(#[^)\s]*)?")


@pytest.mark.parametrize("page", READ_ON_GITHUB, ids=lambda page: str(page.relative_to(ROOT).with_suffix("")))
def test_links_lead_to_files_that_are_there_before_the_site_is_made(page: Path) -> None:
    text = re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL))
    for link, anchor in LINK.findall(text):
        if ":" in link:
            continue
        target = (page.parent / link).resolve() if link else page
        assert target.exists(), link
        assert not target.is_relative_to(DOCS / "made"), f"{link} is made with the site: on GitHub it leads nowhere"
        assert target.is_relative_to(ROOT), link
        if anchor and target.suffix == ".md":
            assert anchor[1:] in anchors(target.read_text()), link + anchor


def test_extras_of_the_package_stand_where_they_are_needed() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    said = "".join(page.read_text() for page in PAGES)
    assert [extra for extra in extras if f"[{extra}]'" not in said] == ["joblib"], "which comes with scikit-learn"


def anchors(text: str) -> set[str]:
    """Anchors of the headings of a page, as GitHub makes them."""
    found = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("path", sorted((ROOT / "conf" / "model").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_table_of_settings_is_what_the_file_says(path: Path) -> None:
    text = path.read_text()
    read = {setting.key: yaml.safe_load(setting.default) for setting in read_settings(text)}
    assert read == dict(leaves({key: value for key, value in yaml.safe_load(text).items() if key != "defaults"}))
    said = [setting.comment for setting in read_settings(text)]
    if "defaults" not in text:  # a variant need not explain again
        assert all(said), read_settings(text)


def leaves(node: dict, prefix: str = ""):
    for key, value in node.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        elif not key.startswith("_"):
            yield f"{prefix}{key}", value


def test_comments_that_go_on_are_read_whole() -> None:
    text = "# Head.\na: 1  # one,\n      # two\ngroup:  # what for\n  b: [1, 2]  # three\n"
    assert [tuple(found) for found in read_settings(text)] == [
        ("a", "1", "one, two"),
        ("group.b", "[1, 2]", "what for; three"),
    ]


@pytest.mark.parametrize("model", models.names())
def test_a_models_part_has_its_settings_networks_and_recipes(model: str) -> None:
    part = models.part(model)
    assert f"## `model={model}`" in part
    assert "Takes " in part
    assert not re.search(r"^\| `model\..*\|  \|$", part, re.MULTILINE), "a setting that nothing explains"
    for name, said in models.recipes(model):
        assert f"| `{name}` | " in part
        assert said["hardware"] in part
        assert said["expect"].replace("|", "\\|") in part


def test_a_models_part_says_what_it_can_be_used_for_and_why_not_for_the_rest() -> None:
    flow, gan, forest = (models.part(name) for name in ("flow", "gan", "forest"))
    assert "- `inpaint`: fill in the rest" in flow
    assert "- `augment`: " in flow
    assert "\nNo `" not in flow
    assert "\nNo `inpaint`: it says nothing of a part" in gan
    assert "- `detect`: " in forest
    assert "\nNo `reconstruct`, `interpolate`, `traverse`: it has no code" in forest
    assert "\nNo `augment`: it is told no labels." in forest


def test_the_gallery_has_every_comparison_with_its_floor_costs_and_commands() -> None:
    found = comparisons()
    overview = gallery.overview()
    assert {comparison.folder for comparison in found} == {path.parent for path in RESULTS.glob("*/comparison.csv")}
    for comparison in found:
        assert comparison.page in overview
        page = gallery.page(comparison)
        floor = next(row for row in comparison.rows if row["reference"] == "floor")
        assert f"| **floor**, {floor['variant']} |" in page
        for row in comparison.rows:
            if row is not floor:
                first, *others = row["seeds"].split()
                assert not others or f" seed={first},{','.join(others)} -m" in page
                words = row["command"].replace(f" seed={first}", "") if others else row["command"]
                assert f"\n{words}" in page
                assert f"{float(row['likelihood']):.3f}" in page if row["likelihood"] else True
                assert f"{float(row['train_minutes']):#.3g} |" in page
    emoji = next(gallery.page(each) for each in found if each.name == "comparison_emoji")
    assert "dequantized-ode, 16 examples |" in emoji.partition("## Samples")[0], "which no other row has"
    assert "`emoji_32`, test split (10 % of each class" in emoji
    for command, words in dict.fromkeys(entry for each in found for entry in commands(gallery.page(each))):
        for overrides in one_by_one(words):
            check(command, overrides)


def test_what_was_measured_stands_under_its_kind_of_data() -> None:
    text = choosing.part().partition("### Text")[2]
    assert "ngram 2.424" in text, "the best likelihood of that comparison"
    assert "| shakespeare | transformer |" in text.partition("###")[0]
    assert "shakespeare" not in text.partition("###")[2]


DISTANCE = json.loads((RESULTS / "diffusion_stochastic_volatility" / "standard.json").read_text())["quality"][
    "sliced_wasserstein"
]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("| csv_diamonds_42359c | gan |  |", "column distance 0.011 ± 0.002"),
        ("| stochastic_volatility_32 | diffusion |  |", f"sliced Wasserstein {DISTANCE:#.3g}"),
        ("| spoken_digits | diffusion |  |", "FID 13.29"),
    ],
)
def test_a_single_run_without_a_likelihood_has_its_main_figure_of_samples(row: str, says: str) -> None:
    (line,) = [line for line in choosing.part().splitlines() if line.startswith(row)]
    assert f" | {says} | ".replace(" ± ", "\u00a0±\u00a0") in line, "no line ends between a figure and its error"
    assert "1 threads" not in choosing.part()


def test_a_single_run_names_its_file_and_the_version_of_the_code() -> None:
    lines, mixtures = choosing.part().splitlines(), models.part("gmm")
    for file, result in single_runs():
        name = f"`{file.relative_to(RESULTS)}`"
        (line,) = [line for line in lines if name in line]
        assert f" | {result['code_version']} |" in line
        assert (" of p(x given y) |" in line) is ((result["likelihood"] or {}).get("of") == "p(x|y)")
        assert (f"[{name}](/made/results.md)" in mixtures) is (result["model"]["name"] == "gmm")


def test_uses_that_are_not_measured_say_so_and_reports_of_detect_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worth, "RESULTS", tmp_path)
    assert set(worth.parts().values()) == {"Not measured yet.\n"}
    figures = {key: 0.75 for name in ("auroc", "average_precision", "fpr_at_95") for key in (name, f"{name}_se")}
    report = {
        "use": "detect", "run": "1-s0", "model": {"name": "flow", "variant": ""}, "data": {"name": "digits"},
        "settings": {"split": "test", "n": 2, "checkpoint": "best"}, "other": "vertical_flip", "own_examples": 2,
        "other_examples": 2, "scores": {"nll": figures}, "missing": {},
    }  # fmt: skip
    (tmp_path / "detect").mkdir()
    (tmp_path / "detect" / "a.json").write_text(json.dumps(report))
    assert "### AUROC, digits against vertical\\_flip" in worth.parts()["detecting"]
    assert "| flow | 1-s0 | 0.750 ± 0.750 |" in worth.parts()["detecting"]


def test_pages_that_the_index_does_not_name_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "index.md").write_text("start\n<!-- other pages -->\n")
    for name in ("start", "uses"):
        (tmp_path / f"{name}.md").write_text("# A page\n")
    monkeypatch.setattr(site, "DOCS", tmp_path)
    assert site.others() == ["uses"]
    assert site.linked("start\n<!-- other pages -->\n", "index") == "start\nuses\n"


def test_links_out_of_the_folder_lead_to_pages_of_the_site() -> None:
    text = "[a](../results/README.md#speed) [b](../results/comparison_mnist/comparison.md) [c](../results/sweep.json)"
    assert site.linked(text, "scaling") == (
        "[a](/made/results.md#speed) [b](/made/gallery/comparison_mnist.md) [c](../results/sweep.json)"
    )
    folders = "[a](../results) [b](../conf/experiment) [c](../src/genlab/core) [d](../conf/model)"
    assert site.linked(folders, "scaling") == (
        "[a](/made/gallery.md) [b](/made/recipes.md) [c](/made/api/core.md) [d](../conf/model)"
    )
