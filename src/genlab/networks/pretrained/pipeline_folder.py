"""The folder of a pipeline of diffusers: what it may name, and what is looked at before the library reads it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import torch

from genlab.core.errors import GenlabError, nearest, shown
from genlab.core.memory import memory_bytes, say_bytes
from genlab.networks.pretrained.folder import (
    MOST_SETTINGS,
    check_layers,
    check_numbers,
    checksum,
    file_in,
    read_json,
    weights_in,
)
from genlab.networks.pretrained.pipeline import DiTPipeline, Pipeline, UNetPipeline

__all__ = ["load_pipeline", "pipeline_files"]

INDEX, SCHEDULER, NETWORK = "model_index.json", "scheduler_config.json", "config.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"
MOST_STEPS, MOST_CLASSES, MOST_PIXELS = 100_000, 1_000_000, 65_536

Settings = dict[str, Any]


class _Kind(NamedTuple):
    """A pipeline that a folder may name.

    Attributes:
        networks: The classes that each of its networks may be named as; the first is made.
        schedulers: The scheduler that it makes of the named one.
        steps: Its default; None: all of the training's.
        make: Of these.
        check: Refuses settings of its scheduler and its networks that it cannot be made of.
        spare: What its index may have beside its parts, of which nothing is read.
    """

    networks: Mapping[str, tuple[str, ...]]
    schedulers: Mapping[str, str]
    steps: int | None
    make: type[Pipeline]
    check: Callable[[str, Mapping[str, Settings], str], None]
    spare: tuple[str, ...] = ()


class _Read(NamedTuple):
    """What a folder says: its kind by name, the classes that are made, where its parts lie, and their settings."""

    name: str
    classes: Mapping[str, str]
    places: Mapping[str, str]
    settings: Mapping[str, Settings]


def pipeline_files(names: Collection[str], folder: Path) -> dict[str, float]:
    """Return the files that :func:`load_pipeline` opens, and the most bytes of each: settings before the weights.

    Args:
        names: Of all files that there are.
        folder: Has those that were fetched so far.

    Raises:
        GenlabError: If settings that are there name what is not known.
    """
    if not (folder / INDEX).exists():
        return {INDEX: MOST_SETTINGS}

    def has_folder(part: str) -> bool:
        return any(name.startswith(f"{part}/") for name in names)

    name, named = _read_index(folder)
    places = _places(named, has_folder)
    settings = dict.fromkeys((INDEX, *_settings_files(places).values()), MOST_SETTINGS)
    if not all((folder / file).exists() for file in settings):
        return settings
    _read(folder, has_folder)
    return settings | {f"{places[part]}{WEIGHTS}": memory_bytes() for part in PIPELINES[name].networks}


def load_pipeline(folder: Path) -> Pipeline:
    """Read a pipeline from its folder; nothing unpickles, and no class is imported that is not in :data:`PIPELINES`.

    Args:
        folder: With ``model_index.json``, and the networks and the scheduler in folders of their names; of a U-Net they
            may lie beside it.

    Raises:
        GenlabError: If the folder is no such pipeline, names other classes, or diffusers is not installed.
    """
    read = _read(folder, lambda part: (folder / part).is_dir())
    kind = PIPELINES[read.name]
    weights = {part: weights_in(folder, f"{read.places[part]}{WEIGHTS}") for part in kind.networks}
    settings = [file_in(folder, name) for name in (INDEX, *_settings_files(read.places).values())]
    sha256 = checksum([*settings, *weights.values()])
    try:
        scheduler = _class(read.classes["scheduler"]).from_config(read.settings["scheduler"])
        for part, file in weights.items():
            _check_size(read.classes[part], read.settings[part], file)
        networks = [_network(read.classes[part], file, folder) for part, file in weights.items()]
    except GenlabError:
        raise
    except Exception as error:  # whatever a library says to settings and files of others
        reason = " ".join(str(error).split())[:200]
        raise GenlabError(f"diffusers cannot make {read.name} of {shown(folder)}: {reason}") from error
    steps = min(kind.steps or MOST_STEPS, read.settings["scheduler"]["num_train_timesteps"])
    return kind.make(read.name, networks, scheduler, steps, sha256)


def _check_size(name: str, settings: Settings, weights: Path) -> None:
    """Refuse a network that is larger than its weights, before there is memory for it; none of a hostile size is."""
    config = weights.parent / NETWORK
    blocks = max(len(found) if isinstance(found := settings.get(key), list) else 1 for key in _BLOCKS)
    check_layers(config, "block_out_channels", blocks, weights)
    for key, times in (("layers_per_block", blocks), ("num_layers", 1)):
        if type(settings.get(key)) is int:
            check_layers(config, key, settings[key] * times, weights)
    with torch.device("meta"):
        network = _class(name).from_config(settings)
    check_numbers(config, sum(tensor.numel() for tensor in network.state_dict().values()), weights)
    held = sum(
        tensor.nbytes for tensor in (*network.parameters(), *network.buffers())
    )  # of places, too, beside weights
    if held > (most := memory_bytes()):
        raise GenlabError(f"{shown(config)} is of a network of {say_bytes(held)}, expected at most {say_bytes(most)}.")


def _network(name: str, weights: Path, folder: Path) -> torch.nn.Module:
    network, loaded = _class(name).from_pretrained(
        weights.parent, use_safetensors=True, local_files_only=True, torch_dtype=torch.float32, output_loading_info=True
    )
    if lacking := [*loaded["missing_keys"], *loaded["unexpected_keys"], *loaded["mismatched_keys"]]:
        raise GenlabError(
            f"The weights in {shown(weights)} are not those of its config.json: {_said(lacking[0])} and "
            f"{len(lacking) - 1} more differ."
        )
    return network


def _read(folder: Path, has_folder: Callable[[str], bool]) -> _Read:
    """Read all settings of a folder, and refuse what they name that is not known, or that no pipeline is made of."""
    name, named = _read_index(folder)
    kind, places = PIPELINES[name], _places(named, has_folder)
    files = _settings_files(places)
    settings = {part: _read_settings(folder, files[part], named[part]) for part in files}
    classes = {part: known[0] for part, known in kind.networks.items()}
    classes["scheduler"] = kind.schedulers[named["scheduler"]]
    where = shown(folder)
    _check_steps(where, settings["scheduler"])
    kind.check(where, settings, classes["scheduler"])
    return _Read(name, classes, places, settings)


def _read_index(folder: Path) -> tuple[str, dict[str, str]]:
    """Return the pipeline and its parts' classes that a folder names, if it names nothing but what is known."""
    index = read_json(folder, INDEX)
    name = index.get("_class_name")
    if not isinstance(name, str) or name not in PIPELINES:
        hint = nearest(name, PIPELINES) if isinstance(name, str) else ""
        raise GenlabError(
            f"{shown(folder)}/{INDEX} names the pipeline {_said(name)}, expected one of {', '.join(PIPELINES)}.{hint}"
        )
    kind = PIPELINES[name]
    allowed = {"scheduler": tuple(kind.schedulers), **kind.networks}
    named = {key: value for key, value in index.items() if not key.startswith("_") and key not in kind.spare}
    for key in {**allowed, **named}:
        classes = allowed.get(key, ())
        if named.get(key) not in [["diffusers", each] for each in classes]:
            expected = f"{' or '.join(classes)} of diffusers" if classes else "no such part"
            raise GenlabError(
                f"{shown(folder)}/{INDEX} has {shown(key)}: {_said(named.get(key))}, expected {expected}."
            )
    return name, {part: named[part][1] for part in allowed}


def _places(parts: Collection[str], has_folder: Callable[[str], bool]) -> dict[str, str]:
    # The first pipelines were published in one folder.
    return {part: f"{part}/" if has_folder(part) else "" for part in parts}


def _settings_files(places: Mapping[str, str]) -> dict[str, str]:
    return {part: f"{place}{SCHEDULER if part == 'scheduler' else NETWORK}" for part, place in places.items()}


def _read_settings(folder: Path, name: str, expected: str) -> Settings:
    settings = read_json(folder, name)
    if settings.get("_class_name") != expected:
        raise GenlabError(
            f"{shown(folder)}/{name} is of {_said(settings.get('_class_name'))}, expected {expected}, as "
            "model_index.json says."
        )
    if strange := [key for key in ("quantization_config", "auto_map") if key in settings]:
        raise GenlabError(f"{shown(folder)}/{name} has {strange[0]}, which is not read here.")
    return settings


# What a library would take, and only a sample would show. Defaults are those that diffusers has.


def _check_steps(where: str, scheduler: Settings) -> None:
    steps = scheduler.setdefault("num_train_timesteps", 40 if "sigma_min" in scheduler else 1000)
    if type(steps) is not int or not 1 <= steps <= MOST_STEPS:
        raise GenlabError(f"{where}: num_train_timesteps is {_said(steps)}, expected 1 to {MOST_STEPS:,}.")


def _check_unet(where: str, settings: Mapping[str, Settings], scheduler: str) -> None:
    unet = settings["unet"]
    if unet.get("num_class_embeds") is not None or unet.get("class_embed_type") is not None:
        raise GenlabError(f"The pipeline in {where} draws given classes, expected an unconditional one.")
    given, found = unet.get("in_channels", 3), unet.get("out_channels", 3)
    learns = scheduler == _DDPM and str(settings["scheduler"].get("variance_type")).startswith("learned")
    if type(given) is not int or given < 1 or found != (2 * given if learns else given):
        raise GenlabError(f"{where}: the network makes {_said(found)} channels of {_said(given)}, expected as many.")
    size = unet.get("sample_size")
    sizes = size if isinstance(size, list) and len(size) == 2 else [size]
    if any(type(each) is not int or each < 1 for each in sizes):
        raise GenlabError(f"{where}: sample_size is {_said(size)}, expected the pixels of a side.")


def _check_dit(where: str, settings: Mapping[str, Settings], scheduler: str) -> None:
    transformer, autoencoder = settings["transformer"], settings["vae"]
    side = _count(where, transformer, "sample_size", 32, MOST_PIXELS)
    patch = _count(where, transformer, "patch_size", 2, side)
    if side % patch:
        raise GenlabError(f"{where}: sample_size is {side}, which patches of {patch} do not fill.")
    _count(where, transformer, "num_embeds_ada_norm", 1000, MOST_CLASSES)
    given = _count(where, transformer, "in_channels", 4, MOST_PIXELS)
    found = transformer.get("out_channels")
    if found not in (None, given, 2 * given):  # the second half are variances
        raise GenlabError(
            f"{where}: the transformer makes {_said(found)} channels of {given}, expected as many, or twice."
        )
    latents = _count(where, autoencoder, "latent_channels", 4, MOST_PIXELS)
    if latents != given:
        raise GenlabError(f"{where}: the autoencoder decodes {latents} channels, and the transformer makes {given}.")
    _count(where, autoencoder, "out_channels", 3, MOST_PIXELS)
    scale = autoencoder.get("scaling_factor", 0.18215)
    if type(scale) not in (int, float) or not isfinite(scale) or scale <= 0:
        raise GenlabError(f"{where}: scaling_factor is {_said(scale)}, expected a number > 0.")


def _count(where: str, settings: Settings, key: str, default: int, most: int) -> int:
    value = settings.get(key, default)
    if type(value) is not int or not 1 <= value <= most:
        raise GenlabError(f"{where}: {key} is {_said(value)}, expected 1 to {most:,}.")
    return value


def _class(name: str) -> Any:
    try:
        module = importlib.import_module(_MODULES[name])
    except ModuleNotFoundError as error:
        if error.name != "diffusers":
            raise
        raise GenlabError("model=pretrained needs diffusers: pip install 'genlab[diffusers]'") from error
    from diffusers.utils.logging import set_verbosity_error

    set_verbosity_error()  # what is wrong is said here
    return getattr(module, name)


def _said(value: object) -> str:
    return shown(repr(value))[:120]


_DDPM, _DDIM, _CONSISTENCY = "DDPMScheduler", "DDIMScheduler", "CMStochasticIterativeScheduler"
_BLOCKS = ("block_out_channels", "down_block_types", "up_block_types")
_UNET: Mapping[str, tuple[str, ...]] = {"unet": ("UNet2DModel",)}
_DIT: Mapping[str, tuple[str, ...]] = {
    "transformer": ("DiTTransformer2DModel", "Transformer2DModel"),  # as it was called before it had its own name
    "vae": ("AutoencoderKL",),
}
PIPELINES: Mapping[str, _Kind] = {
    "DDPMPipeline": _Kind(_UNET, {_DDPM: _DDPM, _DDIM: _DDIM}, None, UNetPipeline, _check_unet),
    "DDIMPipeline": _Kind(_UNET, {_DDPM: _DDIM, _DDIM: _DDIM}, 50, UNetPipeline, _check_unet),
    "ConsistencyModelPipeline": _Kind(_UNET, {_CONSISTENCY: _CONSISTENCY}, 1, UNetPipeline, _check_unet),
    "DiTPipeline": _Kind(_DIT, {_DDIM: _DDIM}, 50, DiTPipeline, _check_dit, ("id2label",)),
}
"""All that ``model_index.json`` may name; each is a class of diffusers, and nothing else is imported."""

_MODULES = {
    _DDPM: "diffusers.schedulers.scheduling_ddpm",
    _DDIM: "diffusers.schedulers.scheduling_ddim",
    _CONSISTENCY: "diffusers.schedulers.scheduling_consistency_models",
    "UNet2DModel": "diffusers.models.unets.unet_2d",
    "DiTTransformer2DModel": "diffusers.models.transformers.dit_transformer_2d",
    "AutoencoderKL": "diffusers.models.autoencoders.autoencoder_kl",
}
