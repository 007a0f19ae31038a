"""Exports: what is in them, that they load as what they are, and that those of strangers do nothing else."""

from __future__ import annotations

import json
import os
import pickle
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save

import genlab
from genlab.command import cli
from genlab.command.build import build_datamodule
from genlab.command.config import read_trained
from genlab.core.errors import GenlabError
from genlab.measure.results import read_result
from genlab.runs.atomic import write_atomic
from genlab.runs.exports import CARD, CONFIG, INDEX, NETWORK, WEIGHTS, open_export, parse_index
from genlab.runs.finding import find_run
from genlab.uses.card import write_out
from tests import forkserver
from tests.command.hostile import refused
from tests.contract.families import CASES, make_model
from tests.tiny import ROOT, run_folder, train
from tests.uses.strangers import FOLDER, STRANGERS, Runs, change, index, linked_folder, of_config, pretrained

VAE = ["model.conv.channels=[4,8]", "model.latent_dims=4", "model.mlp.hidden=[16]"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny VAE on digits, with figures of quality and so with a floor."""
    logs = tmp_path_factory.mktemp("logs")
    train(logs, *VAE, "evaluation.num_samples=128", model="vae")
    return run_folder(logs)


@pytest.fixture(scope="module")
def export(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, exported."""
    target = tmp_path_factory.mktemp("exports") / "vae"
    assert cli.export([f"run={run}", f"to={target}", "licence=mit", f"paths.logs={run.parents[3]}"]) == 0
    return target


@pytest.fixture
def copy(export: Path, tmp_path: Path) -> Path:
    """A copy of the export, for strangers to change."""
    shutil.copytree(export, tmp_path / "copy")
    return tmp_path / "copy"


def sampled_as_the_run_is(run: Path, export: Path, tmp_path: Path) -> None:
    """An export's samples, drawn in a process of its own, are its run's."""
    code = "import sys; from genlab.command import cli; sys.exit(cli.sample(sys.argv[1:]))"
    more = ["n=9", "seed=3", f"paths.logs={tmp_path}"]
    done = forkserver.run([sys.executable, "-c", code, f"run={export}", *more, f"out={tmp_path / 'a.npz'}"], cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert cli.sample([f"run={run}", *more, f"out={tmp_path / 'b.npz'}"]) == 0
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_it_is_sampled_in_a_process_of_its_own_as_the_run_is(run: Path, export: Path, tmp_path: Path) -> None:
    sampled_as_the_run_is(run, export, tmp_path)
    record = json.loads((tmp_path / "a.json").read_text())
    assert record["settings"]["run"] == str(export)
    assert record["weights"] == {"file": WEIGHTS, "sha256": index(export)["files"][WEIGHTS]["sha256"]}


@pytest.mark.parametrize("model", ["flow", "gan"])
def test_other_families_are_sampled_so_too(model: str, tmp_path: Path) -> None:
    train(tmp_path / "logs", "budget.examples=64", "budget.validations=1", model=model)
    run = run_folder(tmp_path / "logs")
    assert cli.export([f"run={run}", f"to={tmp_path / 'export'}"]) == 0
    sampled_as_the_run_is(run, tmp_path / "export", tmp_path)


def test_what_is_in_it(run: Path, export: Path) -> None:
    files = {path.relative_to(export).as_posix() for path in export.rglob("*") if path.is_file()}
    expected = {CONFIG, WEIGHTS, "results/quick.json", "results/quick.floor.json"}
    expected |= {"samples/samples.npz", "samples/samples.png"}
    assert files == expected | {INDEX, CARD}
    assert set(index(export)["files"]) == expected
    config = yaml.safe_load((export / CONFIG).read_text())
    assert {"paths", "logger", "evaluation"}.isdisjoint(config)
    assert "root" not in config["data"]
    saved = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    weights = load_file(export / WEIGHTS)
    assert saved.keys() == weights.keys()
    assert all(torch.equal(saved[name], weights[name]) for name in saved)
    drawn = np.load(export / "samples" / "samples.npz")["x"]
    torch.manual_seed(0)
    assert cli.sample([f"run={run}", f"n={len(drawn)}", f"out={run / 'again'}"]) == 0
    assert np.array_equal(drawn, np.load(run / "again.npz")["x"])


def test_the_card_says_what_the_figures_are(run: Path, export: Path) -> None:
    card, result = (export / CARD).read_text(), read_result(run / "results" / "quick.json")
    head = yaml.safe_load(card.split("---\n")[1])
    assert head == {"library_name": "genlab", "tags": ["generative-model", "vae", "image"], "license": "mit"}
    assert result.likelihood is not None
    assert f"{result.likelihood.bits_per_dim:.4f} ± {result.likelihood.bits_per_dim_se:.4f} elbo" in card
    for said in (
        f"protocol quick ({result.protocol.hash})", "| floor |", "licence of the data: CC BY 4.0",
        "genlab.load_run(", "samples/samples.png", f"`{run.name}`",
    ):  # fmt: skip
        assert said in card


def test_the_card_says_how_long_it_was_trained(export: Path) -> None:
    index, model = parse_index((export / INDEX).read_bytes(), INDEX), genlab.load_run(export)
    for seconds, said in ((60.0, " and 1 minute on cpu"), (90.0, " and 1.5 minutes on cpu")):
        progress = index.training.progress.model_copy(update={"seconds": seconds})
        training = index.training.model_copy(update={"progress": progress})
        assert said in write_out(index.model_copy(update={"training": training}), model, [], "it")


def test_nothing_of_the_machine_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither folders, which say who trained it on what, nor secrets; and it loads where its data is not."""
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecretsecret")
    private = tmp_path / "patients of"
    private.mkdir()
    noise = np.random.default_rng(0)
    rows = "".join(f"{noise.normal():.3f},{noise.normal():.3f}\n" for _ in range(300))
    (private / "people.csv").write_text(f"a,b\n{rows}")
    result = train(tmp_path / "logs", "data=csv", f"data.path={private / 'people.csv'}", model="gmm")
    run = run_folder(tmp_path / "logs")
    path = run / "results" / "quick.json"
    words = [f"data.path={private}/lr=1/people.csv", f"folders=[{private}/a b/c,x]", f"--config-dir={private}/conf"]
    words += ["data.root=../patients of/data", "paths.logs=patients/logs"]
    command = shlex.join(["python", "train.py", *words, "hf_secretsecretsecret"])
    write_atomic(path, json.dumps({**result.as_dict(), "command": command}))
    assert cli.export([f"run={run}", f"to={tmp_path / 'export'}"]) == 0
    for file in (path for path in (tmp_path / "export").rglob("*") if path.is_file()):
        content = file.read_bytes()
        for secret in ("patients", str(tmp_path), "hf_secret"):
            assert secret.encode() not in content, file
    assert yaml.safe_load((tmp_path / "export" / CONFIG).read_text())["data"]["path"] == "people.csv"
    shared = read_result(tmp_path / "export" / "results" / "quick.json")
    assert shared.command == (
        "python train.py data.path=people.csv 'folders=[c,x]' --config-dir=conf data.root=data paths.logs=logs ***"
    )
    shutil.rmtree(private)
    assert genlab.load_run(tmp_path / "export").sample(2).shape == (2, 2)
    with pytest.raises(GenlabError, match=r"people\.csv"):
        find_and_build(tmp_path / "export")


def find_and_build(folder: Path) -> None:
    build_datamodule(read_trained(find_run(folder)))


def test_it_is_evaluated_as_the_run_is(run: Path, export: Path, tmp_path: Path) -> None:
    """The result lies among those of runs, since nothing is written into the export."""
    before = sorted(export.rglob("*"))
    given = ["evaluation=quick", "evaluation.num_samples=128", "evaluation.max_examples=50", "device=cpu"]
    assert cli.evaluate([f"run={export}", *given, f"paths.logs={tmp_path}"]) == 0
    assert sorted(export.rglob("*")) == before
    (path,) = tmp_path.glob("runs/digits/vae/*/results/quick.json")
    found, own = read_result(path), read_result(run / "results" / "quick.json")
    assert path.parents[1].name == f"{run.name}-{index(export)['files'][WEIGHTS]['sha256'][:8]}"
    assert (found.config_hash, found.likelihood, found.quality) == (own.config_hash, own.likelihood, own.quality)
    assert found.training == own.training
    assert f"run={export}" in found.command


def test_figures_of_a_last_checkpoint_that_is_not_there_are_missing(copy: Path, tmp_path: Path) -> None:
    change(copy, progress={**index(copy)["progress"], "examples": 1})
    given = ["evaluation=quick", "evaluation.num_samples=8", "evaluation.max_examples=50", "device=cpu"]
    assert cli.evaluate([f"run={copy}", *given, f"paths.logs={tmp_path}"]) == 0
    (path,) = tmp_path.glob("runs/digits/vae/*/results/quick.json")
    found = read_result(path)
    assert found.likelihood_last is None
    assert found.reason("likelihood_last") == "the export holds the best checkpoint alone"
    assert found.training.checkpoint == "best"
    assert found.training.chosen_by == "val/bits_per_dim"


def test_data_that_it_was_not_trained_on_is_refused(copy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    change(copy, data={**index(copy)["data"], "num_classes": 9})
    refused(["reconstruct", f"run={copy}"], capfd, ["num_classes is 10, not 9", "what the export was trained on"])


def test_the_last_checkpoint(run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.export([f"run={run}", f"to={tmp_path / 'last'}", "checkpoint=last"]) == 0
    assert index(tmp_path / "last")["checkpoint"] == "last"
    assert not list((tmp_path / "last").glob("results/*")), "the run's results are of its best checkpoint"
    assert "None were measured" in (tmp_path / "last" / CARD).read_text()
    saved = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    weights = genlab.load_run(tmp_path / "last").state_dict()
    assert all(torch.equal(saved[name], weights[name]) for name in saved)
    refused(["export", f"run={run / 'checkpoints' / 'last.ckpt'}", f"to={tmp_path / 'x'}"], capfd, ["checkpoint=best"])


def test_a_run_without_weights_of_its_own_is_not_exported(
    run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Before anything is opened or asked for: the config alone says that its model came trained."""
    shutil.copytree(run, tmp_path / "run")
    config = yaml.safe_load((run / CONFIG).read_text())
    write_atomic(tmp_path / "run" / CONFIG, yaml.safe_dump({**config, "model": pretrained("/data/ddpm")}))
    for to in (tmp_path / "export", "hf://ada/ddpm"):
        refused(
            ["export", f"run={tmp_path / 'run'}", f"to={to}"], capfd, ["Share the original, model.path=/data/ddpm."]
        )
    assert not (tmp_path / "export").exists()


def test_nothing_is_overwritten_without_being_told(
    run: Path, copy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    refused(["export", f"run={run}", f"to={copy}"], capfd, ["where an export is", "overwrite=true"])
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    for more in ([], ["overwrite=true"]):
        refused(["export", f"run={run}", f"to={tmp_path / 'mine'}", *more], capfd, ["where other files are"])
    refused(["export", f"run={run}", f"to={tmp_path / 'mine' / 'thesis.txt'}"], capfd, ["to is"])
    mine = (".git", "notes.txt", "samples/mine.png")
    for more in ("samples/samples_1.wav", *mine):
        (copy / more).write_text("older")
    change(copy, files={**index(copy)["files"], "samples/samples_1.wav": {"bytes": 5, "sha256": "0" * 64}})
    assert cli.export([f"run={run}", f"to={copy}", "overwrite=true", "checkpoint=last"]) == 0
    assert index(copy)["checkpoint"] == "last"
    kept = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()}
    assert kept == {*index(copy)["files"], INDEX, CARD, *mine}
    assert not list(tmp_path.glob(".export-*"))


def test_what_is_replaced_by_half_is_no_export(
    run: Path, copy: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither the old nor the new: a mixture would have the results of other weights."""
    replace = os.replace

    def full(source: Path, target: Path) -> None:
        if Path(target) == copy / WEIGHTS:
            raise OSError(28, "No space left on device", str(target))
        replace(source, target)

    monkeypatch.setattr("genlab.uses.export.os.replace", full)
    refused(["export", f"run={run}", f"to={copy}", "overwrite=true", "checkpoint=last"], capfd, ["No space left"])
    refused(["sample", f"run={copy}"], capfd, ["best.ckpt"])
    monkeypatch.undo()
    assert cli.export([f"run={run}", f"to={copy}", "overwrite=true"]) == 0
    assert index(copy)["checkpoint"] == "best"
    (copy / INDEX).unlink()
    (copy / "thesis.txt").write_text("years")
    refused(["export", f"run={run}", f"to={copy}", "overwrite=true"], capfd, ["where other files are"])


def test_a_copy_keeps_the_card_that_was_edited(copy: Path, tmp_path: Path) -> None:
    (copy / CARD).write_text("My card.\n")
    (copy / "notes.txt").write_text("not to be shared")
    assert cli.export([f"run={copy}", f"to={tmp_path / 'again'}"]) == 0
    assert (tmp_path / "again" / CARD).read_text() == "My card.\n"
    names = {path.relative_to(tmp_path / "again").as_posix() for path in (tmp_path / "again").rglob("*.*")}
    assert names == {*index(copy)["files"], INDEX, CARD}


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("licence=mit", "licence is given"),
        ("network=true", "network is given"),
        ("checkpoint=last", "no checkpoint last"),
    ],
)
def test_a_copy_heeds_no_settings_and_says_so(
    setting: str, line: str, copy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    change(copy, progress={**index(copy)["progress"], "batches": 0})  # not the last weights
    refused(["export", f"run={copy}", f"to={tmp_path / 'again'}", setting], capfd, [line])
    assert not (tmp_path / "again").exists()


def test_a_card_of_any_size_is_not_copied(copy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    os.truncate(copy / CARD, 1_000_001)
    says = f"{CARD} has 1,000,001 bytes, expected at most 1,000,000"
    refused(["export", f"run={copy}", f"to={tmp_path / 'again'}"], capfd, [says])
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("name", STRANGERS)
def test_a_strangers_export_does_nothing(
    name: str, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    harm, says = STRANGERS[name]
    harm(copy)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    before = sorted(tmp_path.rglob("*"))
    refused(["sample", f"run={copy}", "n=1"], capfd, [says])
    refused(["export", f"run={copy}", "to=again"], capfd, [])
    assert sorted(tmp_path.rglob("*")) == before


def test_nothing_is_written_through_a_link(
    run: Path, copy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    linked_folder(copy)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    refused(["export", f"run={run}", f"to={copy}", "overwrite=true"], capfd, ["samples is a link"])
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_linked_folder_of_samples_is_not_copied(
    copy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    linked_folder(copy)
    refused(["export", f"run={copy}", f"to={tmp_path / 'again'}"], capfd, ["samples is no folder"])
    assert not (tmp_path / "again").exists()


def test_a_strangers_paths_to_data_are_not_followed(copy: Path) -> None:
    of_config(lambda c: c["data"].update(_target_="genlab.data.own.CsvTable", path="/etc/passwd", root="/etc"))(copy)
    with pytest.raises(GenlabError, match=r"data\.path is passwd, which cannot be read"):
        find_and_build(copy)


@pytest.mark.parametrize("path", ["~", "~/", "/home/~", "~root", "..", "../", "x/..", "a\\..", ".", "/", ""])
def test_a_strangers_paths_lead_to_no_other_folder(path: str, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(copy)
    of_config(lambda c: c.update(data=FOLDER | {"path": path, "cache": path, "root": "/etc"}))(copy)
    with pytest.raises(GenlabError, match=r"data\.path is not given"):
        find_and_build(copy)


@pytest.mark.parametrize("cache", ["~", "memory"])
def test_a_stranger_does_not_say_where_anything_is_kept(
    cache: str, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENLAB_DATA", "mine")
    of_config(lambda c: c.update(data=FOLDER | {"path": "pictures", "cache": cache, "root": "/etc"}))(copy)
    config = read_trained(find_run(copy)).data.plain
    assert config == FOLDER | {"path": "pictures", "root": "mine"}


@pytest.mark.parametrize("case", {case.id.split("-")[0]: case for case in CASES}.values(), ids=lambda case: case.id)
def test_every_familys_weights_are_plain_tensors(case: Any) -> None:
    state = make_model(case).state_dict()
    content = save({name: tensor.contiguous().clone() for name, tensor in state.items()})
    from safetensors.torch import load

    loaded = load(content)
    assert all(
        torch.equal(tensor, loaded[name]) and tensor.dtype == loaded[name].dtype for name, tensor in state.items()
    )


def test_its_place_is_told_by_its_weights(export: Path, tmp_path: Path) -> None:
    place = open_export(export, tmp_path)
    assert place.path.is_relative_to(tmp_path / "runs" / "digits" / "vae")
    assert find_run(export / WEIGHTS, tmp_path) == place


def test_a_network_beside_the_weights(run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "vae"
    assert cli.export([f"run={run}", f"to={target}", "network=true"]) == 0
    assert NETWORK in index(target)["files"]
    card = (target / CARD).read_text()
    assert "- `z`: [4] after the batch: latents" in card
    assert re.search(r"their outputs differ by [\d.e-]+ at\nmost, where the largest is [\d.]+\.", card)
    write_atomic(target / NETWORK, pickle.dumps(Runs()))
    assert genlab.load_run(target).num_latents == 4, "it is not even looked at"
    refused(["export", f"run={target}", f"to={tmp_path / 'again'}"], capfd, [f"{NETWORK} is damaged"])
    assert cli.export([f"run={run}", f"to={target}", "overwrite=true"]) == 0
    assert not (target / NETWORK).exists()


def test_a_network_that_cannot_be_is_refused_before_the_work(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(model: object) -> None:
        raise GenlabError("network is true, but this one has none.")

    monkeypatch.setattr("genlab.command.export.require_network", refuse)
    monkeypatch.setattr("genlab.command.export.load_checkpoint", None)
    refused(["export", f"run={run}", f"to={tmp_path / 'export'}", "network=true"], capfd, ["this one has none"])
    assert not list(tmp_path.iterdir())
