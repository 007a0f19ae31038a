"""No numeric key of any config takes what is no number for it; new keys are found by a walk through the signatures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from genlab.command.build import build_model
from genlab.command.config import check_config
from genlab.command.entry import config_folder
from genlab.command.schemas import (
    AnomaliesConfig,
    AugmentConfig,
    CompareConfig,
    Config,
    DashboardConfig,
    DetectConfig,
    EvaluateConfig,
    EvaluateSamplesConfig,
    ExploreConfig,
    ExtractorConfig,
    InpaintConfig,
    InterpolateConfig,
    ReconstructConfig,
    SampleConfig,
    TrainConfig,
    TraverseConfig,
)
from genlab.command.signatures import read_signature
from genlab.command.targets import Node, locate
from genlab.command.values import fits
from genlab.core.errors import GenlabError
from tests.tiny import SMALL

Numbers = dict[str, tuple[Any, str]]


def numbers(schema: type[Config], plain: Mapping[str, Any]) -> Numbers:
    """Return the annotation of each numeric key of a config, and a name for what it is an argument of."""
    return {key: found for key, *found in _walk(schema, plain, "") if _is_numeric(found[0])}  # type: ignore[misc]


def _walk(called: Any, node: Mapping[str, Any], key: str) -> Iterator[tuple[str, Any, str]]:
    for name, parameter in read_signature(called).parameters.items():
        annotation, value, where = parameter.annotation, node.get(name), f"{key}{name}"
        if isinstance(value, Mapping) and "_target_" in value:
            yield from _walk(locate(value["_target_"]), value, f"{where}.")
            if isinstance(annotation, type) and issubclass(annotation, Node):
                yield from _walk(annotation, value, f"{where}.")
        elif isinstance(value, Mapping) and isinstance(annotation, type) and name != "plain":
            yield from _walk(annotation, value, f"{where}.")
        elif name in node:
            yield where, annotation, f"{called.__module__}.{called.__qualname__}.{name}"


def _is_numeric(annotation: Any) -> bool:
    return annotation in (int, float) or any(map(_is_numeric, _parts(annotation)))


def _parts(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Literal:
        return ()
    return (annotation.__origin__,) if hasattr(annotation, "__metadata__") else get_args(annotation)


def _mentions(annotation: Any, *kinds: Any) -> bool:
    return (
        annotation in kinds or get_origin(annotation) in kinds or any(_mentions(p, *kinds) for p in _parts(annotation))
    )


def composed(config_name: str, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(config_folder(config_name))):
        return compose(config_name, list(overrides))


NEVER = (float("nan"), float("inf"), float("-inf"), 10**400, "abc", [1, "x"], {"a": 1}, [float("nan")])
"""What is no value of any numeric key."""

EXTREME = (-1, 0, 10**12, 10**30, -1.5, 1e30)
"""What may be one: then the model is made with it, or refuses it in a line."""

UNBOUNDED = {
    "budget.examples", "seed", "data.seed", "log_every", "evaluation.seed", "evaluation.max_examples",
    "model.likelihood_images", "n", "label",
}  # fmt: skip
"""Whole numbers that may be as large as anybody likes: nothing is allocated for them, or what is there bounds them."""

CONFIGS: list[tuple[str, type[Config], tuple[str, ...]]] = [
    *(
        ("config", TrainConfig, (f"model={path.stem}", *SMALL.get(path.stem, ())))
        for path in sorted((config_folder() / "model").glob("*.yaml"))
    ),
    *(
        ("config", TrainConfig, (f"data={path.stem}", *SMALL["flow"]))
        for path in sorted((config_folder() / "data").glob("*.yaml"))
    ),
    ("config", TrainConfig, ("logger=wandb", "evaluation=paper", "trainer=ddp")),
    ("evaluate", EvaluateConfig, ("run=x",)),
    ("evaluate_samples", EvaluateSamplesConfig, ("samples=x", "data=digits", "~budget")),
    ("sample", SampleConfig, ("run=x",)),
    ("reconstruct", ReconstructConfig, ("run=x",)),
    ("interpolate", InterpolateConfig, ("run=x",)),
    ("traverse", TraverseConfig, ("run=x",)),
    ("detect", DetectConfig, ("run=x", "against=x")),
    ("anomalies", AnomaliesConfig, ()),
    ("inpaint", InpaintConfig, ("run=x",)),
    ("augment", AugmentConfig, ("run=x",)),
    ("compare", CompareConfig, ()),
    ("dashboard", DashboardConfig, ()),
    ("explore", ExploreConfig, ()),
    ("train_extractor", ExtractorConfig, ()),
]

SEEN: set[tuple[str, str]] = set()


@pytest.mark.parametrize(("name", "schema", "overrides"), CONFIGS, ids=lambda value: str(value)[:60])
def test_numbers(name: str, schema: type[Config], overrides: tuple[str, ...]) -> None:
    config = composed(name, *overrides)
    found = numbers(schema, OmegaConf.to_container(config, resolve=True))
    for key, (annotation, argument) in found.items():
        if (argument, key) in SEEN:  # options that families share are looked at once
            continue
        SEEN.add((argument, key))
        accepted = [value for value in NEVER if fits(value, annotation) and not _is_meant(value, annotation)]
        assert not accepted, f"{key} may be {accepted}"
        accepted = [value for value in EXTREME if fits(value, annotation)]
        whole = not _mentions(annotation, float)
        assert not (whole and 10**12 in accepted and key not in UNBOUNDED), f"{key} may be 10**12: give it a bound"
        lines = refusal(config, schema, key, float("nan"))
        assert key in (lines or ""), f"{key} may be nan"
        if key.startswith("model."):
            for value in accepted:
                refusal(config, schema, key, value)


def _is_meant(value: Any, annotation: Any) -> bool:
    """Whether text or a mapping fits since the annotation says so itself."""
    return (isinstance(value, str) and _mentions(annotation, str)) or _mentions(annotation, Any)


def refusal(config: DictConfig, schema: type[Config], key: str, value: Any) -> str | None:
    """Return the line by which a value of a config is refused, or None if it is legal."""
    changed = config.copy()
    OmegaConf.update(changed, key, value)
    try:
        checked = check_config(changed, schema)
        if isinstance(checked, TrainConfig):
            build_model(checked)
    except GenlabError as error:
        lines = str(error)
        assert 1 <= len(lines.splitlines()) <= 2, lines
        return lines
    return None


def test_the_walk_finds_keys_at_every_depth() -> None:
    found = numbers(TrainConfig, OmegaConf.to_container(composed("config"), resolve=True))
    assert {"seed", "budget.minutes", "model.lr", "model.multiscale.hidden", "model.optimizer.betas"} <= set(found)
    assert {"model.schedule.warmup", "data.batch_size", "trainer.devices", "evaluation.num_draws"} <= set(found)
    assert not {"model.network", "paths.logs", "rerun"} & set(found)
