"""A search as the command line gives it, with what Hydra and genlab make of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser

from genlab.command.search_space import SearchCommand, read_command
from tests.tiny import ROOT


@contextmanager
def composed(*arguments: str, conf: Path | None = None) -> Iterator[tuple[Any, SearchCommand]]:
    """What Hydra and then we make of ``python train.py -m <arguments>``."""
    extra = [f"hydra.searchpath=[{conf}]"] if conf else []
    with initialize_config_dir(str(ROOT / "conf")):
        parsed = OverridesParser.create().parse_overrides([*extra, *arguments])
        plain = [str(o.input_line) for o in parsed if not o.is_sweep_override()]
        config = compose("config", plain, return_hydra_config=True)
        context = SimpleNamespace(config_loader=GlobalHydra.instance().config_loader())
        params = config.hydra.sweeper.get("params") or {}
        task = [argument for argument in arguments if not argument.startswith("hydra")]
        yield config, read_command(config, context, params, task)


def settings(**changes: Any) -> dict[str, Any]:
    path = ROOT / "conf" / "hydra" / "sweeper" / "optuna.yaml"
    return {**yaml.safe_load(path.read_text()), **changes}
