"""Unconditional pipelines of diffusers: a U-Net of the library and one of its schedulers, sampled step by step."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor
from torch.overrides import TorchFunctionMode

from genlab.core.errors import GenlabError, nearest, shown
from genlab.core.memory import memory_bytes
from genlab.core.noise import normal
from genlab.networks.pretrained.folder import MOST_SETTINGS, checksum, file_in, read_json, weights_in

__all__ = ["Pipeline", "load_pipeline", "pipeline_files"]

WEIGHTS = "diffusion_pytorch_model.safetensors"
MOST_STEPS = 100_000


class _Kind(NamedTuple):
    """A pipeline that a folder may name: the scheduler that it makes of the named one, and its default of steps."""

    schedulers: Mapping[str, str]
    steps: int | None  # None: all of the training's


_DDPM, _DDIM, _CONSISTENCY = "DDPMScheduler", "DDIMScheduler", "CMStochasticIterativeScheduler"
PIPELINES: Mapping[str, _Kind] = {
    "DDPMPipeline": _Kind({_DDPM: _DDPM, _DDIM: _DDIM}, None),
    "DDIMPipeline": _Kind({_DDPM: _DDIM, _DDIM: _DDIM}, 50),
    "ConsistencyModelPipeline": _Kind({_CONSISTENCY: _CONSISTENCY}, 1),
}
"""All that ``model_index.json`` may name; each is a class of diffusers, and nothing else is imported."""

_MODULES = {
    _DDPM: "diffusers.schedulers.scheduling_ddpm",
    _DDIM: "diffusers.schedulers.scheduling_ddim",
    _CONSISTENCY: "diffusers.schedulers.scheduling_consistency_models",
    "UNet2DModel": "diffusers.models.unets.unet_2d",
}


class Pipeline:
    """A U-Net and a scheduler as diffusers has them.

    Args:
        name: Name of the pipeline's class.
        unet: The network.
        scheduler: Says by what steps noise becomes a picture.
        steps: Steps of a sample that the pipeline takes by default.
        sha256: Of the files that it was read from.

    Attributes:
        shape: ``(C, H, W)`` of its pictures.
        most_steps: Steps of the training's process, which no sampler exceeds.
    """

    def __init__(self, name: str, unet: torch.nn.Module, scheduler: Any, steps: int, sha256: bytes) -> None:
        self.name = name
        self.unet = unet.eval().requires_grad_(False)
        self.scheduler = scheduler
        self.steps = steps
        self.sha256 = sha256
        size = unet.config.sample_size
        self.shape: tuple[int, ...] = (unet.config.in_channels, *([size] * 2 if isinstance(size, int) else size))
        self.most_steps: int = scheduler.config.num_train_timesteps

    @torch.no_grad()
    def sample(self, n: int, steps: int, generator: Generator | None, device: torch.device) -> Tensor:
        """Draw pictures ``[n, C, H, W]`` in [0, 1].

        Args:
            n: Number of pictures.
            steps: Evaluations of the network for each.
            generator: Source of the noise, which belongs to the picture; see :mod:`genlab.core.noise`.
            device: Where they are drawn.
        """
        self.unet.to(device)
        self.scheduler.set_timesteps(steps, device=device)
        x = normal((n, *self.shape), generator, device) * self.scheduler.init_noise_sigma
        for time in self.scheduler.timesteps:
            found = self.unet(self.scheduler.scale_model_input(x, time), time).sample
            with _NoiseOfExamples(generator):
                x = self.scheduler.step(found, time, x).prev_sample
        return (x / 2 + 0.5).clamp(0, 1)


class _NoiseOfExamples(TorchFunctionMode):
    """Within it normal noise that a library draws for a batch belongs to the examples of the batch."""

    def __init__(self, generator: Generator | None) -> None:
        super().__init__()
        self.generator = generator

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.randn:
            options = dict(kwargs or {})
            return normal(args[0], self.generator, torch.device(options["device"]), options.get("dtype"))
        return func(*args, **(kwargs or {}))


def pipeline_files(names: Collection[str]) -> dict[str, float]:
    """Return the files that :func:`load_pipeline` opens, of all these, and the most bytes of each."""
    unet, scheduler = (
        f"{part}/" if any(name.startswith(f"{part}/") for name in names) else "" for part in ("unet", "scheduler")
    )
    settings = ("model_index.json", f"{unet}config.json", f"{scheduler}scheduler_config.json")
    return dict.fromkeys(settings, MOST_SETTINGS) | {f"{unet}{WEIGHTS}": memory_bytes()}


def load_pipeline(folder: Path) -> Pipeline:
    """Read a pipeline from its folder; nothing unpickles, and no class is imported that is not in :data:`PIPELINES`.

    Args:
        folder: With ``model_index.json``, and the U-Net and the scheduler in folders of these names or beside it.

    Raises:
        GenlabError: If the folder is no such pipeline, names other classes, or diffusers is not installed.
    """
    name, scheduler_named = _read_index(folder)
    kind = PIPELINES[name]
    scheduler_class = kind.schedulers[scheduler_named]
    unet_place, scheduler_place = _place(folder, "unet"), _place(folder, "scheduler")
    settings = _read_settings(folder, f"{scheduler_place}scheduler_config.json", scheduler_named)
    network = _read_settings(folder, f"{unet_place}config.json", "UNet2DModel")
    weights = weights_in(folder, f"{unet_place}{WEIGHTS}")
    _check_sizes(settings, network, folder, scheduler_class == _DDPM)
    names = ("model_index.json", f"{scheduler_place}scheduler_config.json", f"{unet_place}config.json")
    sha256 = checksum([*(file_in(folder, each) for each in names), weights])
    try:
        scheduler = _class(scheduler_class).from_config(settings)
        unet, loaded = _class("UNet2DModel").from_pretrained(
            folder / unet_place, use_safetensors=True, local_files_only=True, torch_dtype=torch.float32,
            output_loading_info=True,
        )  # fmt: skip
    except GenlabError:
        raise
    except Exception as error:  # whatever a library says to settings and files of others
        reason = " ".join(str(error).split())[:200]
        raise GenlabError(f"diffusers cannot make {name} of {shown(folder)}: {reason}") from error
    if lacking := [*loaded["missing_keys"], *loaded["unexpected_keys"], *loaded["mismatched_keys"]]:
        raise GenlabError(
            f"The weights in {shown(weights)} are not those of its config.json: {_said(lacking[0])} and "
            f"{len(lacking) - 1} more differ."
        )
    return Pipeline(name, unet, scheduler, min(kind.steps or MOST_STEPS, settings["num_train_timesteps"]), sha256)


def _read_index(folder: Path) -> tuple[str, str]:
    """Return the pipeline and the scheduler that a folder names, if it names nothing but what is known."""
    index = read_json(folder, "model_index.json")
    name = index.get("_class_name")
    if not isinstance(name, str) or name not in PIPELINES:
        hint = nearest(name, PIPELINES) if isinstance(name, str) else ""
        raise GenlabError(
            f"{shown(folder)}/model_index.json names the pipeline {_said(name)}, expected one of "
            f"{', '.join(PIPELINES)}.{hint}"
        )
    kind = PIPELINES[name]
    allowed = {"unet": ("UNet2DModel",), "scheduler": tuple(kind.schedulers)}
    named = {key: value for key, value in index.items() if not key.startswith("_")}
    for key in {**allowed, **named}:
        classes = allowed.get(key, ())
        if named.get(key) not in [["diffusers", each] for each in classes]:
            expected = f"{' or '.join(classes)} of diffusers" if classes else "no such part"
            raise GenlabError(
                f"{shown(folder)}/model_index.json has {shown(key)}: {_said(named.get(key))}, expected {expected}."
            )
    return name, named["scheduler"][1]


def _place(folder: Path, part: str) -> str:
    return f"{part}/" if (folder / part).is_dir() else ""  # the first pipelines were published in one folder


def _read_settings(folder: Path, name: str, expected: str) -> dict[str, Any]:
    settings = read_json(folder, name)
    if settings.get("_class_name") != expected:
        raise GenlabError(
            f"{shown(folder)}/{name} is of {_said(settings.get('_class_name'))}, expected {expected}, as "
            "model_index.json says."
        )
    if strange := [key for key in ("quantization_config", "auto_map") if key in settings]:
        raise GenlabError(f"{shown(folder)}/{name} has {strange[0]}, which is not read here.")
    return settings


def _check_sizes(scheduler: dict[str, Any], unet: Mapping[str, Any], folder: Path, is_ddpm: bool) -> None:
    """Refuse what a library would take, and only a sample would show."""
    steps = scheduler.setdefault("num_train_timesteps", 40 if "sigma_min" in scheduler else 1000)
    if type(steps) is not int or not 1 <= steps <= MOST_STEPS:
        raise GenlabError(f"{shown(folder)}: num_train_timesteps is {_said(steps)}, expected 1 to {MOST_STEPS:,}.")
    if unet.get("num_class_embeds") is not None or unet.get("class_embed_type") is not None:
        raise GenlabError(f"The pipeline in {shown(folder)} draws given classes, expected an unconditional one.")
    given, found = unet.get("in_channels", 3), unet.get("out_channels", 3)  # as diffusers has them by default
    learns_variance = is_ddpm and str(scheduler.get("variance_type")).startswith("learned")
    if type(given) is not int or given < 1 or found != (2 * given if learns_variance else given):
        raise GenlabError(
            f"{shown(folder)}: the network makes {_said(found)} channels of {_said(given)}, expected as many."
        )
    size = unet.get("sample_size")
    sizes = size if isinstance(size, list) and len(size) == 2 else [size]
    if any(type(each) is not int or each < 1 for each in sizes):
        raise GenlabError(f"{shown(folder)}: sample_size is {_said(size)}, expected the pixels of a side.")


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
