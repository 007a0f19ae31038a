"""Checking a config against what it configures, and making objects of its nodes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
from annotated_types import Ge, Gt, Le
from omegaconf import OmegaConf

from genlab.command import targets
from genlab.command.config import check_config
from genlab.command.schemas import Config
from genlab.command.targets import Node, instantiate, locate
from genlab.command.values import fits_target
from genlab.core.errors import GenlabError


class Part:
    def __init__(self, size: Annotated[int, Ge(1)], kind: Literal["affine", "spline"] = "affine") -> None:
        self.size = size
        self.kind = kind


class Other:
    pass


class Family:
    def __init__(
        self,
        spec: object,
        lr: Annotated[float, Gt(0)],
        hidden: list[Annotated[int, Ge(1)]],
        part: Part,
        clip: Annotated[float, Gt(0)] | None = None,
        step: Callable[..., float] | None = None,
    ) -> None:
        self.spec = spec
        self.lr = lr
        self.hidden = hidden
        self.part = part


class Loose(Family):
    def __init__(self, spec: object, **settings: Any) -> None:
        self.settings = settings


def scale(fraction: float, warmup: Annotated[float, Ge(0), Le(1)] = 0.1) -> float:
    return fraction * warmup


def anything(**kwargs: Any) -> dict[str, Any]:
    return kwargs


def refused() -> None:
    raise AssertionError("a target outside the whitelist was called")


@dataclass(frozen=True, kw_only=True)
class Schema(Config):
    model: Any
    seed: Annotated[int, Ge(0)] = 0
    copies: Any = None


@pytest.fixture(autouse=True)
def _allow_this_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "CLASSES", (*targets.CLASSES, f"{__name__}.*"))
    monkeypatch.setattr(targets, "FUNCTIONS", (*targets.FUNCTIONS, f"{__name__}.scale", f"{__name__}.anything"))


def family(**changes: Any) -> dict[str, Any]:
    node = {
        "_target_": f"{__name__}.Family",
        "_convert_": "all",
        "lr": 0.001,
        "hidden": [64, 32],
        "part": {"_target_": f"{__name__}.Part", "size": 4},
        "step": {"_target_": f"{__name__}.scale", "_partial_": True, "warmup": 0.5},
    }
    return {key: value for key, value in (node | changes).items() if value != "absent"}


def problems(config: dict[str, Any], schema: type = Schema) -> str:
    with pytest.raises(GenlabError) as raised:
        check_config(OmegaConf.create(config), schema)
    return str(raised.value)


def test_a_config_that_fits_comes_back_typed() -> None:
    config = check_config(OmegaConf.create({"model": family(lr=1, clip=None), "seed": 3, "copies": "${seed}"}), Schema)
    assert (config.seed, config.copies) == (3, 3)
    assert config.plain == {"model": family(lr=1, clip=None), "seed": 3, "copies": 3}
    assert config.model.target is Family
    assert config.model.make(spec="spec").part.size == 4


@dataclass(frozen=True, kw_only=True)
class FamilyNode(Node):
    makes: ClassVar[str] = f"{__name__}.Family"

    lr: Annotated[float, Gt(0)]
    hidden: list[int]
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Typed(Config):
    model: FamilyNode


def test_a_node_has_the_settings_that_the_program_reads() -> None:
    model = check_config(OmegaConf.create({"model": family()}), Typed).model
    assert (model.lr, model.hidden, model.tags) == (0.001, [64, 32], [])
    assert isinstance(model.make(spec=None), Family)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"_target_": f"{__name__}.Other"}, "model makes Other, expected a node that makes Family."),
        ({"lr": 0.1}, "model is {'lr': 0.1}, expected a node that makes Family."),
        (None, "model is null, expected a node that makes Family."),
        (family(lr="absent"), "model.lr is missing, expected a number > 0."),
        (family(lr="fast"), "model.lr is 'fast', expected a number > 0."),
        # A target may leave open what the program needs.
        (
            {"_target_": f"{__name__}.Loose", "lr": 0.1},
            "model.hidden is missing, expected a list, each a whole number.",
        ),
        (
            {"_target_": f"{__name__}.Loose", "lr": 0.1, "hidden": 3},
            "model.hidden is 3, expected a list, each a whole number.",
        ),
    ],
)
def test_a_node_without_them_is_refused(model: Any, message: str) -> None:
    assert problems({"model": model}, Typed) == message


def test_the_plain_config_is_no_key() -> None:
    assert problems({"model": None, "plain": {}}) == "Unknown key 'plain'."


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (family(lrr=1), "Unknown key 'model.lrr'. Did you mean 'model.lr'?"),
        (family(lr="absent"), "model.lr is missing, expected a number > 0."),
        (family(lr="???"), "model.lr is missing, expected a number > 0: give model.lr=..."),
        (family(lr=-1), "model.lr is -1, expected a number > 0."),
        (family(lr=0), "model.lr is 0, expected a number > 0."),
        (family(lr=float("nan")), "model.lr is nan, expected a number > 0. Numbers are finite, at most 3.4e38."),
        (family(lr=True), "model.lr is true, expected a number > 0."),
        (
            family(lr="1e-3"),
            "model.lr is '1e-3', expected a number > 0. It is quoted text: write the number without quotes.",
        ),
        (family(clip=0), "model.clip is 0, expected a number > 0 or null."),
        (family(hidden=[64, 0]), "model.hidden is [64, 0], expected a list, each a whole number >= 1."),
        (family(hidden=3), "model.hidden is 3, expected a list, each a whole number >= 1."),
        (family(spec=3), "model.spec is set from the data; remove it."),
        (family(part=3), "model.part is 3, expected a node that makes Part."),
        (
            family(part={"_target_": f"{__name__}.Part", "size": 4.0}),
            "model.part.size is 4.0, expected a whole number >= 1. Write 4.",
        ),
        (
            family(part={"_target_": f"{__name__}.Part", "size": 4, "kind": "splin"}),
            "model.part.kind is 'splin', expected affine or spline. Did you mean 'spline'?",
        ),
        (
            family(part={"_target_": f"{__name__}.Other"}),
            "model.part makes Other, expected a node that makes Part.",
        ),
        (
            family(step={"_target_": f"{__name__}.scale", "_partial_": True, "warmup": 2}),
            "model.step.warmup is 2, expected a number >= 0 and <= 1.",
        ),
        (
            family(step={"_target_": f"{__name__}.scale", "_partial_": True, "warm": 0.2}),
            "Unknown key 'model.step.warm'. Did you mean 'model.step.warmup'?",
        ),
        (
            family(part={"_target_": f"{__name__}.Prt", "size": 4}),
            f"model.part._target_ is '{__name__}.Prt', but {__name__} has no 'Prt'. Did you mean 'Part'?",
        ),
    ],
)
def test_a_problem_is_named_in_one_line_with_what_would_fit(model: dict[str, Any], message: str) -> None:
    assert problems({"model": model}) == message


def test_two_problems_are_named_and_the_others_counted() -> None:
    lines = problems({"model": family(lr=-1, lrr=1), "seed": -1, "sed": 1}).splitlines()
    assert lines == [
        "model.lr is -1, expected a number > 0.",
        "Unknown key 'model.lrr'. Did you mean 'model.lr'? (and 2 more)",
    ]


def test_nodes_are_found_in_lists_and_beneath_open_ended_targets() -> None:
    part = {"_target_": f"{__name__}.Part", "size": 0}
    assert problems({"model": None, "copies": [part]}).startswith("copies[0].size is 0")
    beneath = {"_target_": f"{__name__}.anything", "one": {"two": part}}
    assert problems({"model": beneath}).startswith("model.one.two.size is 0")


def test_a_copy_of_a_bad_value_is_not_named_beside_it() -> None:
    part = {"_target_": f"{__name__}.Part", "size": "${seed}"}
    assert problems({"model": family(part=part), "seed": -1}) == "seed is -1, expected a whole number >= 0."
    assert problems({"model": family(part=part), "seed": 0}).startswith("model.part.size is 0")


def test_an_interpolation_of_nothing_is_named_with_its_key() -> None:
    assert problems({"model": None, "seed": "${nope}"}) == "seed: Interpolation key 'nope' not found"


def test_a_setting_that_the_program_gives_is_refused() -> None:
    # The program passes these when it calls the partial, so the config's value would be dead.
    optimizer = {"_target_": "torch.optim.Adam", "_partial_": True, "lr": 0.1}
    model = {"_target_": f"{__name__}.anything", "optimizer": optimizer}
    assert problems({"model": model}) == "model.optimizer.lr is set from model.lr; remove it."


def test_what_a_class_makes_must_fit() -> None:
    assert fits_target(Part, Part | None)
    assert not fits_target(Part, Other | None)
    assert fits_target(scale, Part), "what a function makes is not known"


def test_instantiate_makes_nested_objects_and_partials() -> None:
    made = instantiate(OmegaConf.create(family()), spec="spec")
    assert (made.spec, made.part.size, made.hidden) == ("spec", 4, [64, 32])
    assert instantiate(family()["step"])(2.0) == 1.0
    assert instantiate(family()["step"], warmup=0.25)(2.0) == 0.5


def test_instantiate_passes_the_programs_arguments_as_they_are() -> None:
    mine = {"config": {"_target_": f"{__name__}.refused", "text": "${not.ours}"}}
    made = instantiate({"_target_": f"{__name__}.anything", "kept": 1, "over": 1}, config=mine, over=2)
    assert made["config"] is mine
    assert (made["kept"], made["over"]) == (1, 2)


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        f"{__name__}.refused",
        "genlab.runs.atomic.os.system",
        "genlab.runs.atomic.write_atomic",
        "genlab.sweeps.guard.Guard",  # starts a process when it is made
        "genlab.sweeps.shared_study.SharedStudy",  # opens a database
        "genlab.core.errors.difflib.SequenceMatcher",
        "genlab.models.flow.Flow.load_from_checkpoint",
        "pytorch_lightning.Callback",
        "torch.load",
        "genlab_other.Model",
        3,
    ],
)
def test_a_foreign_target_is_neither_called_nor_passed_by_the_check(target: object) -> None:
    message = f"part._target_ is {target!r}, which a config may not call. Expected a class in genlab.models.*"
    with pytest.raises(GenlabError, match="may not call") as raised:
        instantiate(family(part={"_target_": target}), spec=None)
    assert str(raised.value).startswith(message)
    assert problems({"model": family(part={"_target_": target})}).startswith(f"model.{message}")


@pytest.mark.parametrize(
    "reference",
    [
        "${oc.create:{_target_: genlab.runs.atomic.write_atomic, path: written, content: text}}",
        "${oc.env:HOME}",
    ],
)
def test_a_reference_that_is_left_is_refused_before_hydra_resolves_it(
    reference: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GenlabError, match="references are resolved before this"):
        instantiate({"_target_": f"{__name__}.anything", "kept": [reference]})
    written = {"_target_": f"{__name__}.Loose", "text": reference.replace("$", "\\$")}
    assert "a reference that is not resolved" in problems({"model": written})
    assert not list(tmp_path.iterdir())


def test_hydra_guards_too(monkeypatch: pytest.MonkeyPatch) -> None:
    # Should our own guard ever let something through, the whitelist that is passed to Hydra still holds.
    monkeypatch.setattr(targets, "locate", lambda *_: None)
    with pytest.raises(GenlabError, match="not in the Hydra execution whitelist"):
        instantiate({"_target_": "os.getcwd"})


def test_a_broken_import_within_a_target_is_a_bug_and_no_misspelling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "incomplete").mkdir()
    (tmp_path / "incomplete/family.py").write_text("import a_package_that_is_not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(targets, "CLASSES", ("incomplete.*",))
    with pytest.raises(ModuleNotFoundError, match="a_package_that_is_not_there"):
        locate("incomplete.family.Model")


def test_what_checks_values_is_imported_with_the_first_check() -> None:
    # Hydra composes and --help is shown without it.
    script = (
        "import sys, genlab.command.entry, genlab.command.config; "
        "print(*{'torch', 'pytorch_lightning', 'pydantic'} & sys.modules.keys())"
    )
    assert subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout == "\n"
