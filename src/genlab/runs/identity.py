"""What makes two commands the same run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from genlab.runs.moved import by_first_name

__all__ = ["IGNORED_KEYS", "config_hash", "run_id"]

#: Dotted keys that leave a run's identity alone, with everything below them, and why.
IGNORED_KEYS: dict[str, str] = {
    "evaluation": "a run may be evaluated under several protocols",
    "logger": "where figures are shown",
    "hydra": "how the job was launched",
    "paths": "where files lie",
    "rerun": "stands in the folder's name",
    "seed": "stands in the run id",
    "checkpoint_minutes": "how often files are written",
    "log_every": "how often figures are shown",
    "grid_samples": "what is drawn",
    "data.root": "where files lie",
    "data.cache": "where what was read is kept",
    "data.device": "where the data set is kept in memory",
    "trainer.accelerator": "which hardware does the work",
    "trainer.devices": "how much hardware does the work",
    "trainer.num_nodes": "how much hardware does the work",
    "trainer.strategy": "how the hardware shares the work",
    "trainer.cuda_graphs": "how the hardware is told what to do",
    "trainer.default_root_dir": "where files lie",
    "trainer.enable_model_summary": "what is printed",
    "trainer.enable_progress_bar": "what is printed",
    "trainer.log_every_n_steps": "how often figures are shown",
    "trainer.logger": "where figures are shown",
    "trainer.profiler": "what is measured beside the training",
}


ADDED: dict[str, Mapping[str, Any]] = {
    "model.diffwave": {
        "_target_": "genlab.models.denoisers.DiffWaveConfig",
        "_convert_": "all",
        "hidden": 96,
        "dilations": [1, 2, 4, 8, 16, 32, 1, 2, 4, 8, 16, 32],
        "squeeze": 8,
    },
    "model.signal": {
        "_target_": "genlab.models.vae.SignalConfig",
        "_convert_": "all",
        "channels": [64, 96, 128, 128],
        "blocks": 1,
    },
    "model.recurrent": {
        "_target_": "genlab.models.vae.RecurrentConfig",
        "_convert_": "all",
        "embedding": 64,
        "hidden": 256,
        "word_dropout": 0.25,
    },
    "model.wave": {
        "_target_": "genlab.models.gan.WaveConfig",
        "_convert_": "all",
        "channels": 32,
        "max_channels": 256,
        "phase_shuffle": 2,
    },
    "model.waveglow": {
        "_target_": "genlab.models.flow.SignalConfig",
        "_convert_": "all",
        "coupling": "spline",
        "bins": 8,
        "squeeze": 8,
        "steps": [6, 4],
        "hidden": 64,
        "dilations": [1, 2, 4],
    },
    "model.table": {
        "_target_": "genlab.models.flow.TableConfig",
        "_convert_": "all",
        "dequantization": "variational",
        "hidden": 64,
    },
    "model.positions": "auto",
    "model.sampling": {
        "_target_": "genlab.models.truncation.TruncationConfig",
        "_convert_": "all",
        "temperature": 1.0,
        "top_k": None,
        "top_p": 1.0,
    },
    "model.dropout": 0.0,
    "model.tails": "auto",
    "model.unet.squeeze": 8,
    "model.unet.patch": 1,
    "data.predict": None,
    "data.training_noise": 0.0,
    "model.orders": 1,
    "model.guidance": None,
}
"""Settings that families got after their first runs, with the values that they had then.

Runs from before do not say them. With these values they are left out, so that such runs stay what they are; a default
that changes later goes into the identity, and these stay."""


def config_hash(config: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the part of a configuration that can change a trained weight: 64 hex digits.

    The order of keys does not matter, nor whether a whole number is written as ``1`` or ``1.0``. `IGNORED_KEYS` is
    left out, and so is what `ADDED` says.

    Args:
        config: The resolved configuration as plain containers.

    Raises:
        TypeError: If a value is not a plain container, number, string, boolean or None.
    """
    identity = _without_added(by_first_name(config))
    data = dict(identity.get("data") or {})
    if data.get("seed") == identity.get("seed"):
        # By default the order of the data follows the seed, which stands in the run id; another one is another run.
        data.pop("seed", None)
    identity["data"] = data
    text = json.dumps(_canonical(identity), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def run_id(config: Mapping[str, Any], seed: int) -> str:
    """Return the short name of a run, e.g. ``"3f2a91cc-s0"``: 8 hex digits of its `config_hash`, and its seed."""
    return f"{config_hash(config)[:8]}-s{seed}"


def _without_added(config: dict[str, Any]) -> dict[str, Any]:
    kept = config
    for dotted, value in ADDED.items():
        kept = _without(kept, dotted.split("."), value)
    return kept


def _without(node: dict[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    """Return the node less what stands at a path below it, if that is the value."""
    name, *below = path
    if not below:
        return {key: part for key, part in node.items() if key != name or part != value}
    inner = node.get(name)
    return {**node, name: _without(inner, below, value)} if isinstance(inner, dict) else node


def _canonical(value: Any, path: str = "") -> Any:
    if isinstance(value, Mapping):
        items = ((str(key), f"{path}.{key}" if path else str(key), item) for key, item in value.items())
        return {key: _canonical(item, dotted) for key, dotted, item in items if dotted not in IGNORED_KEYS}
    if isinstance(value, list | tuple):
        return [_canonical(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{path} is a {type(value).__name__}, expected a plain container, number, string or None.")
