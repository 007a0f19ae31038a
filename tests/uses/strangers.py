"""Exports of strangers: what may be done to a good one, to do harm where it is used."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save

from genlab.runs.atomic import write_atomic
from genlab.runs.exports import CONFIG, INDEX, WEIGHTS, file_info

__all__ = ["FOLDER", "STRANGERS", "Runs", "change", "index", "linked_folder", "of_config", "pretrained"]

CSV, LOGGER = "genlab.data.own.CsvTable", {"_target_": "pytorch_lightning.loggers.WandbLogger", "_partial_": True}
FOLDER = {"_target_": "genlab.data.image_folder.ImageFolder", "batch_size": 8}


def index(folder: Path) -> dict[str, Any]:
    return json.loads((folder / INDEX).read_text())


def change(folder: Path, **parts: Any) -> None:
    """Write the index again with other parts, and what its files are now."""
    content = index(folder)
    files = {
        name: file_info(folder / name).model_dump() if (folder / name).exists() else info
        for name, info in content["files"].items()
    }
    write_atomic(folder / INDEX, json.dumps({**content, "files": files, **parts}))


class Runs:
    """What a pickle runs when it is opened."""

    def __reduce__(self) -> tuple[Any, ...]:
        return open, ("ran", "w")


def of_config(text: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def harm(folder: Path) -> None:
        config = yaml.safe_load((folder / CONFIG).read_text())
        changed = text(config)
        write_atomic(folder / CONFIG, changed if isinstance(changed, str) else yaml.safe_dump(config))
        change(folder)

    return harm


def pretrained(path: str) -> dict[str, Any]:
    """The settings of a model that comes trained."""
    return {"_target_": "genlab.models.pretrained.Pretrained", "name": "pretrained", "path": path, "steps": None}


def _weights(content: bytes) -> Callable[[Path], None]:
    def harm(folder: Path) -> None:
        write_atomic(folder / WEIGHTS, content)
        change(folder)

    return harm


def _zip(folder: Path) -> None:
    with zipfile.ZipFile(folder / WEIGHTS, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Runs()))
    change(folder)


def _link(name: str, to: str) -> Callable[[Path], None]:
    def harm(folder: Path) -> None:
        shutil.copy(folder / name, folder.parent / "elsewhere")
        (folder / name).unlink()
        os.symlink(to, folder / name)

    return harm


def linked_folder(folder: Path) -> None:
    (folder / "samples").rename(folder.parent / "samples")
    os.symlink("../samples", folder / "samples")


def _pipe(folder: Path) -> None:
    (folder / CONFIG).unlink()
    os.mkfifo(folder / CONFIG)


def _names(name: str) -> Callable[[Path], None]:
    def harm(folder: Path) -> None:
        write_atomic(folder.parent / "outside.png", b"x")
        content = index(folder)
        content["files"][name] = {"bytes": 1, "sha256": "0" * 64}
        write_atomic(folder / INDEX, json.dumps(content))

    return harm


STRANGERS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a target that runs": (of_config(lambda c: c["model"].update(_target_="os.system")), "may not call"),
    "a target of genlab that writes": (
        of_config(lambda c: c["model"].update(optimizer={"_target_": "genlab.runs.atomic.write_atomic"})),
        "may not call",
    ),
    "a target in the data": (of_config(lambda c: c["data"].update(_target_="subprocess.Popen")), "may not call"),
    "a model in another folder": (of_config(lambda c: c.update(model=pretrained("/etc"))), "no export holds"),
    "a model to be pulled": (of_config(lambda c: c.update(model=pretrained("hf://evil/huge"))), "no export holds"),
    "data within the model": (
        of_config(lambda c: c["model"].update(optimizer=LOGGER | {"x": {"_target_": CSV, "path": "/etc/passwd"}})),
        "no part of a model",
    ),
    "a reference": (of_config(lambda c: c["model"].update(name="${oc.env:HOME}")), "a reference"),
    "a tag of YAML": (of_config(lambda c: "model: !!python/object/apply:os.system ['touch ran']\n"), "is damaged"),
    "a pickle for weights": (_weights(pickle.dumps(Runs())), "no file of safetensors"),
    "a zip for weights": (_zip, "no file of safetensors"),
    "half of the weights": (_weights(save({"a": torch.zeros(100)})[:200]), "no file of safetensors"),
    "other weights": (_weights(save({"a": torch.zeros(1)})), "does not fit the model"),
    "weights altered": (lambda folder: write_atomic(folder / WEIGHTS, b"x" * 10), "damaged or altered"),
    "config altered": (lambda folder: write_atomic(folder / CONFIG, "seed: 0\n"), "damaged or altered"),
    "a link for weights": (_link(WEIGHTS, "../elsewhere"), "is a link"),
    "a link for the config": (_link(CONFIG, "/etc/passwd"), "is a link"),
    "a link for the index": (_link(INDEX, "../elsewhere"), "is a link"),
    "a pipe for the config": (_pipe, "config.yaml"),
    "a path upwards": (_names("samples/../../outside.png"), "is no file of an export"),
    "a path from the root": (_names("/etc/hostname"), "is no file of an export"),
    "a file that might run": (_names("samples/setup.py"), "is no file of an export"),
    "a name that acts on the terminal": (_names("\x1b[2J"), "is no file of an export"),
    "a shape of no memory": (
        lambda folder: change(folder, data={**index(folder)["data"], "shape": [10**6, 10**6, 10**6]}), "",
    ),
    "a shape that is no number": (
        lambda folder: change(folder, data={**index(folder)["data"], "shape": ["__import__"]}), "data.shape.0",
    ),
    "a data set's name that is a path": (
        lambda folder: change(folder, data={**index(folder)["data"], "name": "../../x"}), "data",
    ),
    "a model's name that is a path": (lambda folder: change(folder, model="../x"), "model"),
    "a run's name that is a path": (lambda folder: change(folder, run_id="/x"), "run_id"),
    "a key that is not known": (lambda folder: change(folder, hook="os.system"), "hook"),
    "an index that is nested": (lambda folder: write_atomic(folder / INDEX, "[" * 100_000), "not the index"),
    "an index that is large": (lambda folder: write_atomic(folder / INDEX, " " * 2_000_000), "at most 1,000,000"),
}  # fmt: skip
"""What is done, and what is said of it."""
