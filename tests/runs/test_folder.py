from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import genlab
from genlab.command.build import build_model
from genlab.command.config import check_config, read_trained
from genlab.command.load import load_run
from genlab.core.errors import GenlabError
from genlab.runs.atomic import write_atomic
from genlab.runs.finding import find_run
from genlab.runs.folder import RunDir
from genlab.runs.identity import IGNORED_KEYS, config_hash, run_id
from tests.tiny import composed

CONFIG: dict[str, Any] = {
    "seed": 0,
    "model": {"_target_": "genlab.models.Flow", "lr": 1e-3, "widths": [32, 64], "conditional": False, "seed": 1},
    "data": {"name": "digits", "root": "data", "batch_size": 128, "seed": 0, "device": "cpu"},
    "trainer": {"devices": 1, "precision": "32-true"},
    "logger": {"name": "csv"},
    "rerun": False,
}


def changed(key: str, value: object) -> dict[str, Any]:
    config = copy.deepcopy(CONFIG)
    *sections, name = key.split(".")
    place = config
    for section in sections:
        place = place.setdefault(section, {})
    place[name] = value
    return config


def make(run: RunDir, finished: bool = False) -> RunDir:
    run.create()
    run.config.write_text("model: {}\n")
    if finished:
        (run.results / "quick.json").write_text("{}")
    return run


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model.lr", 2e-3),
        ("model.widths", [64, 32]),
        ("model.conditional", 0),
        ("model.seed", 2),
        ("model.new", None),
        ("data.name", "mnist"),
        ("data.batch_size", 64),
        ("trainer.precision", "bf16-mixed"),
        ("budget.examples", 1000),
    ],
)
def test_what_can_change_the_weights_changes_the_identity(key: str, value: object) -> None:
    assert config_hash(changed(key, value)) != config_hash(CONFIG)


def test_the_order_of_the_data_follows_the_seed_or_is_another_run() -> None:
    assert config_hash({**changed("data.seed", 3), "seed": 3}) == config_hash(CONFIG)
    assert config_hash(changed("data.seed", 3)) != config_hash(CONFIG)
    fixed = [config_hash({**changed("data.seed", 100), "seed": seed}) for seed in range(3)]
    assert len(set(fixed)) == 1, "seeds of one row"


@pytest.mark.parametrize("key", sorted(IGNORED_KEYS.keys() - {"seed"}))
def test_what_cannot_change_the_weights_does_not(key: str) -> None:
    assert config_hash(changed(key, "other")) == config_hash(CONFIG)
    assert config_hash(changed(key, {"below": 1})) == config_hash(CONFIG)
    # Only in its own place: a name says nothing elsewhere.
    assert config_hash(changed(f"model.{key}", "other")) != config_hash(CONFIG)


def test_spelling_does_not_change_the_identity() -> None:
    def reverse(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: reverse(value[key]) for key in reversed(value)}
        return tuple(value) if isinstance(value, list) else value

    assert config_hash(reverse(CONFIG)) == config_hash(CONFIG)
    assert config_hash(changed("data.batch_size", 128.0)) == config_hash(CONFIG)


def test_object_in_the_configuration_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"model\.widths\[0\] is a PosixPath"):
        config_hash(changed("model.widths", [Path("x")]))


def test_run_id_is_stable_across_processes_and_versions() -> None:
    # Fixed on purpose: another value here means that no one's runs are found again.
    assert run_id(CONFIG, 0) == "21fbce1d-s0"
    assert run_id(CONFIG, 12) == "21fbce1d-s12"


def test_same_command_is_the_same_folder_whatever_reruns_exist(tmp_path: Path) -> None:
    def locate(rerun: bool) -> RunDir:
        return RunDir.locate(tmp_path, "digits", "flow", "3f2a91cc-s0", rerun)

    plain = tmp_path / "runs" / "digits" / "flow" / "3f2a91cc-s0"
    assert locate(False).path == plain
    make(locate(False), finished=True)

    first = make(locate(True))
    assert first.path.name == "3f2a91cc-s0-r1"
    assert locate(True) == first, "an interrupted rerun goes on"
    make(first, finished=True)
    second = make(locate(True))
    assert second.id == "3f2a91cc-s0-r2", "a finished rerun is left alone"
    make(second, finished=True)
    assert locate(True).id == "3f2a91cc-s0-r3"
    assert locate(False).path == plain
    assert (plain / "results" / "quick.json").exists()


def test_rerun_beside_an_unfinished_run_leaves_it_alone(tmp_path: Path) -> None:
    make(RunDir.locate(tmp_path, "digits", "flow", "a-s0"))
    assert RunDir.locate(tmp_path, "digits", "flow", "a-s0", rerun=True).id == "a-s0-r1"


def test_run_is_finished_with_its_first_result(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    assert not run.is_finished
    run.create()
    (run.results / ".quick.json.0123abcd.partial").write_text("{")
    assert not run.is_finished, "a half-written result is none"
    (run.results / "standard.json").write_text("{}")
    assert run.is_finished


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    for model, name in [("flow", "3f2a91cc-s0"), ("flow", "3f2a91cc-s0-r1"), ("gan", "3f99aaaa-s0")]:
        make(RunDir(tmp_path / "logs" / "runs" / "digits" / model / name))
    return tmp_path / "logs"


@pytest.mark.parametrize("name", ["3f2a91cc-s0", "3f2a91cc-s0-r1", "3f99aaaa-s0"])
def test_run_is_found_by_id_folder_and_file(logs: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = find_run(name, logs)
    assert run.path.name == name
    checkpoint = run.best_checkpoint
    checkpoint.touch()
    assert find_run(run.path) == find_run(checkpoint) == find_run(run.checkpoints) == run
    monkeypatch.chdir(run.checkpoints)
    assert find_run("best.ckpt").path == run.path


def test_run_is_found_by_the_beginning_of_its_id(logs: Path) -> None:
    assert find_run("3f9", logs).id == "3f99aaaa-s0"


@pytest.mark.parametrize("start", ["3f", "3f2a"])
def test_ambiguous_id_lists_the_candidates(logs: Path, start: str) -> None:
    with pytest.raises(GenlabError) as error:
        find_run(start, logs)
    for run in logs.glob("runs/*/*/*"):
        assert (f"{run}," in f"{error.value},".replace(".\n", ",")) == run.name.startswith(start)


@pytest.mark.parametrize("wanted", ["3f99aaab-s0", "", "nothing"])
def test_unknown_run_is_refused(logs: Path, wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(logs)
    with pytest.raises(GenlabError, match="3 runs in") as error:
        find_run(wanted, logs)
    assert ("Did you mean '3f99aaaa-s0'" in str(error.value)) == wanted.startswith("3f")


def test_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GenlabError, match=r"without a run's config\.yaml"):
        find_run(tmp_path, tmp_path / "logs")


@pytest.fixture
def trained(logs: Path) -> RunDir:
    """A run with a best (weights 1) and a last checkpoint (weights 2) of a mixture of two components."""
    run = find_run("3f99aaaa-s0", logs)
    config = check_config(composed(["model=gmm", "data=toy2d", "logger=none", "model.components=2"]))
    run.config.write_text(yaml.safe_dump(config.plain))
    names = {name: tensor.shape for name, tensor in build_model(config).state_dict().items()}
    for path, value in ((run.best_checkpoint, 1.0), (run.last_checkpoint, 2.0)):
        torch.save({"state_dict": {name: torch.full(shape, value) for name, shape in names.items()}}, path)
    return run


def rewrite(run: RunDir, old: str, new: str) -> None:
    text = run.config.read_text()
    assert old in text
    run.config.write_text(text.replace(old, new))


def test_loaded_model_is_the_chosen_checkpoint_frozen(trained: RunDir, logs: Path) -> None:
    def weight(*arguments: Any, **options: Any) -> float:
        return next(load_run(*arguments, **options).parameters()).flatten()[0].item()

    assert weight("3f99", logs=logs) == 1
    assert weight(trained.path, checkpoint="last") == 2
    assert weight(trained.last_checkpoint) == 2
    model = genlab.load_run(trained.path)
    assert not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_load_says_what_is_wrong(trained: RunDir) -> None:
    with pytest.raises(GenlabError, match=r"expected 'best' or 'last'\. Did you mean 'best'"):
        load_run(trained.path, checkpoint="bset")
    rewrite(trained, "components: 2", "components: 3")
    with pytest.raises(GenlabError, match="does not fit"):
        load_run(trained.path)
    trained.config.write_text("inputs: [\n")
    with pytest.raises(GenlabError, match=r"config\.yaml is damaged"):
        load_run(trained.path)
    os.truncate(trained.best_checkpoint, 100)
    with pytest.raises(GenlabError, match="truncated"):
        load_run(trained.path)
    trained.best_checkpoint.unlink()
    with pytest.raises(GenlabError, match=r"has no checkpoint best\.ckpt; it has: last"):
        load_run(trained.path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  components: 2", "  componets: 2", "Unknown key 'model.componets'. Did you mean 'model.components'?"),
        (
            "  components: 2",
            "  components: two",
            "model.components is 'two', expected a whole number >= 1 and <= 65536 or auto.",
        ),
        ("\nseed: 0", "\nsede: 0", "seed is missing, expected a whole number >= 0 and < 9223372036854775808."),
        ("\ndata:", "\nold_data:", "data is missing, expected a node that makes GenlabDataModule."),
        ("models.gmm.GMM", "models.gmm.Gnn", "model._target_ is 'genlab.models.gmm.Gnn', but genlab.models.gmm has no"),
        ("genlab.models.gmm.GMM", "genlab.data.images.Digits", "model makes Digits, expected a node that makes"),
        ("genlab.models.gmm.GMM", "os.system", "model._target_ is 'os.system', which a config may not call."),
    ],
)
def test_a_config_that_cannot_be_built_says_why(trained: RunDir, old: str, new: str, said: str) -> None:
    rewrite(trained, old, new)
    with pytest.raises(GenlabError) as raised:
        read_trained(trained)
    first, problem = str(raised.value).splitlines()
    assert first == f"{trained.config} describes what this version cannot build:"
    assert problem.startswith(said)


def test_keys_that_held_for_the_training_alone_do_not_matter(trained: RunDir) -> None:
    # A run of an earlier version is evaluated by this one, whatever has become of its trainer's and logger's keys.
    rewrite(trained, "\nlog_every:", "\nlog_each:")
    config = read_trained(trained)
    assert (config.model.name, config.seed, config.plain["log_each"]) == ("gmm", 0, 50)


def test_config_is_not_executed(trained: RunDir, tmp_path: Path) -> None:
    trained.config.write_text(f"inputs: !!python/object/apply:os.mkdir [{tmp_path / 'ran'}]\n")
    with pytest.raises(GenlabError, match="damaged"):
        load_run(trained.path)
    assert not (tmp_path / "ran").exists()


def test_import_brings_in_nothing_heavy() -> None:
    script = (
        "import sys, genlab.runs.folder, genlab.measure.results, genlab.runs.locks, genlab.runs.atomic; "
        "print(*{'torch', 'pytorch_lightning', 'hydra', 'omegaconf', 'numpy'} & sys.modules.keys())"
    )
    assert subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout == "\n"


def test_atomic_write_replaces_and_keeps_the_old_on_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomic(path, "old ä")
    assert path.read_text(encoding="utf-8") == "old ä"
    write_atomic(path, b"new")

    def fails(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, "newer")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path], "no temporary file stays"


def test_atomic_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_atomic(tmp_path / "atomic", "")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("blocked", ["logs", "logs/runs/digits/flow/run/samples"])
def test_a_file_in_the_place_of_a_folder_is_named(blocked: str, tmp_path: Path) -> None:
    (tmp_path / blocked).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / blocked).touch()
    with pytest.raises(GenlabError, match="a file is in its way"):
        RunDir.locate(tmp_path / "logs", "digits", "flow", "run").create()
