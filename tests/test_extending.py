"""docs/extending.md tells the truth: its examples, as they stand, are a plug-in that lies outside the repository.

It is installed as pip would leave it, a package and its entry points on the path, and used by the real commands.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from genlab.command.cli import train
from genlab.command.config import check_config
from genlab.command.load import load_run
from genlab.command.targets import locate
from genlab.core.errors import GenlabError
from genlab.core.plugins import Plugin, find_plugins, load_plugins
from genlab.measure.figures import FIGURES
from genlab.modalities import registry
from tests import forkserver
from tests.tiny import ROOT, SHORT, composed

PAGE = (ROOT / "docs" / "extending.md").read_text()
BLOCK = re.compile(r"`(genlab_noise/[\w/.]+|pyproject\.toml)`:.*?```(?:python|yaml|toml)\n(.*?)```", re.DOTALL)
FILES: dict[str, str] = dict(BLOCK.findall(PAGE))
PARTS = {
    "the package": {"pyproject.toml", "genlab_noise/__init__.py"},
    "a family": {"genlab_noise/independent.py", "genlab_noise/conf/model/independent.yaml"},
    "another family": {"genlab_noise/prototypes.py", "genlab_noise/conf/model/prototypes.yaml"},
    "a data set": {"genlab_noise/noise.py", "genlab_noise/conf/data/noise.yaml"},
    "a figure": {"genlab_noise/spread.py"},  # and its entry in the package's __init__.py
    "a kind of data": {"genlab_noise/counts.py"},
    "a data set of that kind": {"genlab_noise/rain.py", "genlab_noise/conf/data/rain.yaml"},
}
TRAINED = [*SHORT, "data=noise", "budget.examples=1280", "evaluation.num_samples=200"]


def install(site: Path, files: dict[str, str], declared: bool = True) -> None:
    """Leave a package in a folder as ``pip install`` does."""
    for name, text in files.items():
        path = site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    project = tomllib.loads(files["pyproject.toml"])["project"]
    about = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    if declared:
        groups = project["entry-points"]
        text = "".join(
            f"[{group}]\n" + "".join(f"{name} = {module}\n" for name, module in points.items())
            for group, points in groups.items()
        )
        (about / "entry_points.txt").write_text(text)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    install(tmp_path / "site", FILES)
    return tmp_path / "site"


def command(site: Path, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(site), str(ROOT / "src")])
    words = [sys.executable, str(ROOT / script), *arguments]
    return forkserver.run(words, cwd=site, env={**os.environ, "PYTHONPATH": path, **environment}, timeout=240)


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Put a folder on the path, as if this process had been started with it there."""

    def forget() -> None:
        find_plugins.cache_clear()
        load_plugins.cache_clear()
        for name in [name for name in sys.modules if name.partition(".")[0] == "genlab_noise"]:
            del sys.modules[name]

    def add(site: Path) -> None:
        monkeypatch.syspath_prepend(site)
        forget()

    known, kinds = dict(FIGURES), dict(registry._MODALITIES)
    yield add
    monkeypatch.undo()
    forget()
    for table, before in ((FIGURES, known), (registry._MODALITIES, kinds)):
        table.clear()
        table.update(before)


def test_the_page_has_what_it_says_and_each_part_takes_few_files() -> None:
    assert set(FILES) == set.union(*PARTS.values())
    assert [len(PARTS[part]) for part in ("a family", "another family", "a data set")] == [2, 2, 2]
    tree = PAGE[PAGE.index("genlab-noise/") : PAGE.index("`pyproject.toml`:")]
    assert all(Path(name).name in tree for name in FILES)


def test_a_plug_in_trains_is_evaluated_and_compared(site: Path) -> None:
    logs = f"paths.logs={site / 'logs'}"
    trained = command(site, "train.py", "model=independent", *TRAINED, logs)
    assert trained.returncode == 0, trained.stderr
    (run,) = (site / "logs").glob("runs/noise/independent/*-s0")
    more = ["evaluation.name=again", "evaluation.num_samples=200", "evaluation.split=validation", "device=cpu"]
    evaluated = command(site, "scripts/evaluate.py", f"run={run}", *more, logs)
    assert evaluated.returncode == 0, evaluated.stderr
    for name in ("quick", "again"):
        result = json.loads((run / "results" / f"{name}.json").read_text())
        assert result["model"]["family"] == "independent"
        assert result["likelihood"]["kind"] == "exact"
        # Uniform noise over 4 levels has 2 bits; what the model learned of the training set costs a little.
        assert 2.0 <= result["likelihood"]["bits_per_dim"] < 2.1
        # Its own figure stands among the others, in the features of a random network: the pictures have no classifier.
        assert result["quality"]["extractor"] == "random-64"
        assert result["quality"]["spread_ratio"] == pytest.approx(1, abs=0.3)
    assert re.search(r"spread +\d\.\d{3}", trained.stdout)
    assert re.search(r"model +independent, \d+ parameters", trained.stdout)  # a family without variants
    out = site / "tables"
    compared = command(site, "scripts/compare.py", "data=noise", "protocol=again", "formats=[csv]", f"out={out}", logs)
    assert compared.returncode == 0, compared.stderr
    assert all(name in compared.stdout for name in ("noise", "independent", "again"))
    assert ",spread_ratio," in (out / "comparison.csv").read_text().splitlines()[0]


def test_state_whose_size_comes_from_data_survives_loading(site: Path, in_this_process: Any, tmp_path: Path) -> None:
    from genlab.command.train import run

    in_this_process(site)
    # Fewer training examples than the family would take; its size is known to the weights alone.
    (site / "genlab_noise/noise.py").write_text(FILES["genlab_noise/noise.py"].replace("(1000, 1", "(150, 1"))
    result = run(composed(["model=prototypes", *TRAINED, f"paths.logs={tmp_path / 'logs'}"]))
    model = load_run(result.place.path, logs=tmp_path / "logs")
    assert model.examples.shape == (150, 16)
    assert model.examples.max() == 3
    assert model.sample(5).shape == (5, 1, 4, 4)


@pytest.mark.parametrize("model", ["gmm", "vae", "made"])
def test_a_kind_of_data_is_one_file_and_our_families_take_it(
    model: str, site: Path, in_this_process: Any, tmp_path: Path
) -> None:
    from genlab.command.train import run

    in_this_process(site)
    small = {"gmm": ["model.components=2"], "vae": ["model.conv.channels=[4]"], "made": ["model.hidden=32"]}
    rain = [word for word in TRAINED if not word.startswith("data=")]
    finished = run(composed([*rain, "data=rain", f"model={model}", *small[model], f"paths.logs={tmp_path / 'logs'}"]))
    assert finished.result.data.modality == "counts"
    assert 0 < finished.result.likelihood.bits_per_dim < 3.3, "eight levels have three bits"
    assert finished.result.quality.sliced_wasserstein > 0
    samples = load_run(finished.place.path, logs=tmp_path / "logs").sample(3)
    assert (samples.shape, str(samples.dtype)) == ((3, 1, 4, 4), "torch.int64")


def test_samples_choose_the_checkpoint_of_a_gan_on_pictures_without_a_classifier(
    site: Path, in_this_process: Any, tmp_path: Path
) -> None:
    from genlab.command.train import run
    from genlab.runs.metrics_csv import MetricsCsv
    from genlab.sweeps.objectives import parse_objectives, values_of

    in_this_process(site)
    tiny = ["model=gan", "model.conv.channels=8", "model.conv.max_channels=16", "validation_samples=100"]
    finished = run(composed([*TRAINED, *tiny, "budget.validations=3", f"paths.logs={tmp_path / 'logs'}"]))
    model = load_run(finished.place.path, logs=tmp_path / "logs")
    assert model.monitor == "val/fid"
    curve = [float(row["val/fid"]) for row in MetricsCsv(finished.place.metrics).rows() if row.get("val/fid")]
    assert len(curve) == 3
    assert values_of(finished, parse_objectives(None, model.monitor), model.monitor) == [pytest.approx(min(curve))]
    assert finished.result.quality.fid > 0


def test_help_and_completion_know_its_options_and_import_nothing_of_it(site: Path) -> None:
    (site / "genlab_noise/__init__.py").write_text("raise SystemExit('imported')\n")
    shown = command(site, "train.py", "--help")
    assert shown.returncode == 0, shown.stderr
    groups = {line.partition(":")[0]: line for line in shown.stdout.splitlines() if ":" in line}
    assert {"independent", "prototypes", "flow"} <= set(re.findall(r"\w+", groups["model"]))
    assert {"noise", "digits"} <= set(re.findall(r"\w+", groups["data"]))
    line = {"COMP_LINE": "train.py data=noi", "COMP_POINT": "17"}
    assert command(site, "train.py", "--shell-completion", "query=bash", **line).stdout.split() == ["data=noise"]
    config = command(site, "train.py", "--cfg", "job", "model=prototypes")
    assert config.returncode == 0, config.stderr
    assert "change: 0.5" in config.stdout


def test_a_plug_in_that_cannot_be_imported_is_named_in_one_line_and_harms_nothing_else(
    site: Path,
    in_this_process: Any,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    in_this_process(site)
    (site / "genlab_noise/__init__.py").write_text("import a_package_that_is_not_there\n")
    line = (
        "The plug-in 'noise' (module genlab_noise) cannot be imported: ModuleNotFoundError: No module named "
        "'a_package_that_is_not_there'"
    )
    logs = f"paths.logs={site / 'logs'}"
    assert train([*SHORT, "model=gmm", "data=toy2d", "data.train_size=500", logs]) == 0
    assert [record.getMessage() for record in caplog.records if "plug-in" in record.getMessage()] == [line]
    capsys.readouterr()
    assert train([*SHORT, "model=independent", logs]) == 2
    assert capsys.readouterr().err == f"model._target_ is 'genlab_noise.independent.Independent'. {line}\n"


def test_a_module_of_it_that_cannot_be_imported_is_named_too(site: Path, in_this_process: Any) -> None:
    in_this_process(site)
    (site / "genlab_noise/noise.py").write_text("1 / 0\n")
    with pytest.raises(GenlabError, match=r"The plug-in 'noise' .* cannot be imported: ZeroDivisionError"):
        locate("genlab_noise.noise.Noise")


def test_the_figure_is_registered_and_its_metric_measures(site: Path, in_this_process: Any) -> None:
    import torch

    in_this_process(site)
    load_plugins()
    assert FIGURES["spread_ratio"].measured_by == "genlab_noise.spread:SpreadRatio"
    metric = locate("genlab_noise.spread.SpreadRatio")(3)
    features = torch.randn(1000, 3, generator=torch.Generator().manual_seed(0))
    metric.update(features, real=True)
    metric.update(2 * features[:500], real=False)
    metric.update(2 * features[500:], real=False)
    assert metric.compute() == pytest.approx(2)


def test_what_no_entry_point_declares_stays_refused(tmp_path: Path, in_this_process: Any) -> None:
    install(tmp_path / "site", FILES, declared=False)
    in_this_process(tmp_path / "site")
    assert find_plugins() == ()
    with pytest.raises(GenlabError, match=r"'genlab_noise\.noise\.Noise', which a config may not call"):
        locate("genlab_noise.noise.Noise")
    assert "genlab_noise" not in sys.modules


def test_a_plug_in_opens_its_own_module_and_no_other(site: Path, in_this_process: Any) -> None:
    in_this_process(site)
    assert locate("genlab_noise.noise.Noise").__name__ == "Noise"
    for name in ("genlab_noise_too.Noise", "genlab_noise.noise.torch.Generator", "genlab_noise.spread.Metric"):
        with pytest.raises(GenlabError, match="may not call"):
            locate(name)


def test_ranges_of_its_signatures_are_checked(site: Path, in_this_process: Any) -> None:
    in_this_process(site)
    with pytest.raises(GenlabError, match=r"^model\.change is 1, expected a number > 0 and < 1\.$"):
        check_config(composed(["model=prototypes", "data=noise", "model.change=1"]))


def test_compare_takes_its_data_by_name(site: Path) -> None:
    # Were the plug-in's groups found there too, data=noise would choose one of their options.
    compared = command(site, "scripts/compare.py", "data=noise", f"paths.logs={site}", "--cfg", "job")
    assert "data: noise" in compared.stdout.splitlines()


def test_the_folder_of_a_module_below_a_package_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a_lab/noise/conf").mkdir(parents=True)
    (tmp_path / "a_lab/__init__.py").write_text("raise ImportError('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert Plugin("noise", "a_lab.noise").find_conf() == tmp_path / "a_lab/noise/conf"
    assert Plugin("noise", "a_lab").find_conf() is None
    assert Plugin("noise", "not_there").find_conf() is None


def test_the_examples_work_in_the_repository_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import types

    from genlab.command.train import run

    rooms = {"independent": "genlab.models.independent", "noise": "genlab.data.noise"}
    for name, module in rooms.items():
        made = types.ModuleType(module)
        monkeypatch.setitem(sys.modules, module, made)
        monkeypatch.setattr(sys.modules[module.rpartition(".")[0]], name, made, raising=False)
        exec(compile(FILES[f"genlab_noise/{name}.py"], module, "exec"), made.__dict__)  # the page's code is tested
    for name in ("conf/model/independent.yaml", "conf/data/noise.yaml"):
        text = re.sub(r"genlab_noise\.(\w+)", lambda found: rooms[found[1]], FILES[f"genlab_noise/{name}"])
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    search = f"hydra.searchpath=[file://{tmp_path / 'conf'}]"
    result = run(composed(["model=independent", *TRAINED, f"paths.logs={tmp_path / 'logs'}", search]))
    assert 2.0 <= result.result.likelihood.bits_per_dim < 2.1
    extractor = composed(["data=noise", search], "train_extractor")
    assert (extractor.budget.examples, extractor.budget.minutes) == (20000, None), "a budget need not have minutes"
