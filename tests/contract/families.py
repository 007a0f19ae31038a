"""The list that the contract tests run over: a line for each family and kind of data.

A new family adds its lines to ``CASES``; the tests themselves do not change.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from genlab.command.targets import instantiate
from genlab.core.batch import Batch
from genlab.core.codec import to_grid
from genlab.core.spec import DataSpec, Field
from genlab.modalities import modality_of
from genlab.models.base import GenerativeModel
from tests.tiny import composed

GRAY = DataSpec("tiny_gray", "image", (1, 4, 4), levels=17, num_classes=3)
COLOUR = DataSpec("tiny_colour", "image", (3, 8, 8), levels=256)
BINARY = DataSpec("tiny_binary", "image", (1, 2, 2), levels=2)
PLANE = DataSpec("tiny_plane", "vector", (2,), num_classes=2)
SPACE = DataSpec("tiny_space", "vector", (3,))
COUNTS = DataSpec("tiny_counts", "vector", (3,), levels=5)

SERIES = DataSpec("tiny_series", "series", (2, 3), columns=("price", "volume"))

SMALL_FLOW = [
    "multiscale.hidden=[8]",
    "multiscale.checkerboard_steps=2",
    "multiscale.channel_steps=[1]",
    "multiscale.bins=4",
    "multiscale.dequantization_hidden=8",
    "multiscale.dequantization_steps=2",
    "vector.transforms=2",
    "vector.hidden=[16]",
    "table.hidden=8",
    "waveglow.bins=4",
    "waveglow.squeeze=2",
    "waveglow.steps=[2,2]",
    "waveglow.hidden=8",
    "waveglow.dilations=[1,2]",
]

SMALL_FOREST = ["trees=3"]

SMALL_GMM = ["components=3", "rank=1"]

SMALL_VAE = [
    "latent_dims=3",
    "mlp.hidden=[16]",
    "conv.channels=[8,8]",
    "signal.channels=[8,8]",
    "recurrent.embedding=4",
    "recurrent.hidden=8",
    "prior.pseudo_inputs=8",
    "prior.transforms=2",
    "prior.hidden=[16]",
]
SMALL_FLOW_MATCHING = [
    "unet.channels=[8,8]",
    "unet.attention=[4]",
    "dit.hidden=16",
    "dit.layers=2",
    "mlp.hidden=[16,16]",
    "diffwave.hidden=8",
    "diffwave.dilations=[1,2]",
    "diffwave.squeeze=3",
    "sampler.steps=4",
    "likelihood_ode.solver=heun",
    "likelihood_ode.steps=4",
]
SMALL_HVAE = ["channels=[8,8]", "layers=[1,2]", "latents=2"]

TEXT = DataSpec("tiny_text", "text", (3,), levels=4, num_classes=2)
SMALL_MASKED_DIFFUSION = ["hidden=16", "layers=1", "heads=2", "steps=3", "bound_levels=3"]
SOUND = DataSpec("tiny_sound", "waveform", (1, 8), levels=4, num_classes=2, sampling_rate_hz=8, has_mask=True)
WAVE = DataSpec("tiny_wave", "waveform", (1, 8), levels=16, num_classes=2, sampling_rate_hz=8)
TABLE = DataSpec(
    "tiny_table",
    "table",
    (4,),
    fields=(Field("size"), Field("kind", levels=3), Field("tenths", decimals=1, rounded=True), Field("flag", levels=2)),
    num_classes=2,
)
NUMBERS = DataSpec("tiny_numbers", "table", (2,), fields=(Field("a", decimals=2), Field("b", decimals=2)))
ROUNDED = DataSpec("tiny_rounded", "table", (2,), fields=(Field("a", decimals=0, rounded=True), Field("b")))
SMALL_PIXELCNN = ["hidden=8", "dilations=[1,2]"]
SMALL_PIXELRNN = ["hidden=8", "layers=2"]
SMALL_TRANSFORMER = ["hidden=16", "layers=2", "heads=2"]
SMALL_WAVENET = ["hidden=8", "skip=8", "dilations=[1,2,4]"]
SMALL_GAN = ["latent_dims=4", "conv.channels=8", "wave.channels=8", "mlp.hidden=[16,16]"]
SMALL_DIFFUSION = [
    "unet.channels=[8,16]",
    "unet.attention=[2]",
    "dit.hidden=16",
    "dit.layers=1",
    "dit.heads=2",
    "mlp.hidden=[16]",
    "diffwave.hidden=8",
    "diffwave.dilations=[1,2]",
    "diffwave.squeeze=3",
    "steps=5",
    "likelihood_ode.solver=heun",
    "likelihood_ode.steps=4",
    "vlb_steps=4",
]
FINE = {"likelihood_ode.steps=4": "likelihood_ode.steps=20", "vlb_steps=4": "vlb_steps=20"}
"""Settings that make a likelihood quick, and those that make it one, which sums to no more than one."""


@dataclass(frozen=True)
class Case:
    """One model on one kind of data.

    Args:
        model: A file in ``conf/model``.
        spec: What one example is.
        overrides: Changes to that file, as on the command line without the leading ``model.``.
    """

    model: str
    spec: DataSpec
    overrides: list[str] = field(default_factory=list)

    @property
    def id(self) -> str:
        small = [*SMALL_FLOW, *SMALL_VAE, *SMALL_HVAE, *SMALL_FLOW_MATCHING, *SMALL_DIFFUSION, *SMALL_GAN]
        changes = [o for o in self.overrides if o not in small]
        return "-".join([self.model, self.spec.name, *changes])


CASES = [
    Case("flow", GRAY, SMALL_FLOW),
    Case("flow", GRAY, [*SMALL_FLOW, "conditional=true"]),
    Case("flow", GRAY, [*SMALL_FLOW, "multiscale.coupling=affine", "multiscale.dequantization=variational"]),
    Case("flow", COLOUR, SMALL_FLOW),
    Case("flow", PLANE, SMALL_FLOW),
    Case("flow", PLANE, [*SMALL_FLOW, "network=maf", "conditional=true"]),
    Case("flow", PLANE, [*SMALL_FLOW, "network=realnvp"]),
    Case("flow", COUNTS, SMALL_FLOW),
    Case("flow", BINARY, [*SMALL_FLOW, "network=nsf", "vector.transforms=1"]),
    Case("flow", SOUND, [*SMALL_FLOW, "conditional=true"]),
    Case("flow", WAVE, [*SMALL_FLOW, "waveglow.coupling=affine"]),
    Case("flow", TABLE, SMALL_FLOW),
    Case("flow", TABLE, [*SMALL_FLOW, "table.dequantization=uniform", "conditional=true"]),
    Case("flow", NUMBERS, SMALL_FLOW),
    Case("gmm", BINARY, SMALL_GMM),
    Case("gmm", GRAY, SMALL_GMM),
    Case("gmm", GRAY, [*SMALL_GMM, "covariance=low_rank"]),
    Case("gmm", COLOUR, SMALL_GMM),
    Case("gmm", COUNTS, [*SMALL_GMM, "covariance=full"]),
    Case("gmm", PLANE, ["components=auto"]),
    Case("gmm", PLANE, [*SMALL_GMM, "covariance=low_rank"]),
    Case("gmm", PLANE, [*SMALL_GMM, "covariance=full"]),
    Case("gmm", TEXT, SMALL_GMM),
    Case("gmm", SOUND, SMALL_GMM),
    Case("gmm", WAVE, SMALL_GMM),
    Case("gmm", TABLE, SMALL_GMM),
    Case("gmm", NUMBERS, SMALL_GMM),
    Case("gmm", NUMBERS, [*SMALL_GMM, "covariance=full"]),
    Case("forest", TABLE, SMALL_FOREST),
    Case("forest", NUMBERS, ["trees=2", "min_rows=10", "bandwidth=1"]),
    Case("ngram", TEXT),
    Case("ngram", SOUND, ["order=3"]),
    Case("vae", GRAY, SMALL_VAE),
    Case("vae", GRAY, [*SMALL_VAE, "network=mlp", "prior.kind=vamp"]),
    Case("vae", COLOUR, SMALL_VAE),
    Case("vae", SPACE, SMALL_VAE),
    Case("vae", SPACE, [*SMALL_VAE, "prior.kind=flow"]),
    Case("vae", COUNTS, SMALL_VAE),
    Case("vae", COUNTS, [*SMALL_VAE, "observation=logistic_mixture", "components=3"]),
    Case("vae", BINARY, SMALL_VAE),
    Case("vae", BINARY, [*SMALL_VAE, "network=mlp", "prior.kind=vamp"]),
    Case("vae", BINARY, [*SMALL_VAE, "prior.kind=flow"]),
    Case("vae", SOUND, SMALL_VAE),
    Case("vae", WAVE, [*SMALL_VAE, "observation=logistic_mixture", "components=3"]),
    Case("vae", TEXT, SMALL_VAE),
    Case("vae", TEXT, [*SMALL_VAE, "prior.kind=vamp"]),
    Case("vae", TABLE, [*SMALL_VAE, "components=2"]),
    Case("vae", TABLE, [*SMALL_VAE, "prior.kind=vamp"]),
    Case("iwae", GRAY, [*SMALL_VAE, "objective.draws=5"]),
    Case("iwae", SPACE, [*SMALL_VAE, "objective.draws=5"]),
    Case("hvae", GRAY, SMALL_HVAE),
    Case("hvae", COLOUR, SMALL_HVAE),
    Case("hvae", SPACE, SMALL_HVAE),
    Case("hvae", COUNTS, SMALL_HVAE),
    Case("hvae", BINARY, SMALL_HVAE),
    Case("flow_matching", GRAY, SMALL_FLOW_MATCHING),
    Case("flow_matching", GRAY, [*SMALL_FLOW_MATCHING, "network=dit", "conditional=true", "sampler.solver=dopri5"]),
    Case("flow_matching", GRAY, [*SMALL_FLOW_MATCHING, "conditional=true", "label_dropout=0.2", "guidance=2"]),
    Case("flow_matching", COLOUR, [*SMALL_FLOW_MATCHING, "path.times=logit_normal", "sampler.solver=euler"]),
    Case("flow_matching", PLANE, SMALL_FLOW_MATCHING),
    Case("flow_matching", PLANE, [*SMALL_FLOW_MATCHING, "conditional=true", "path.coupling=optimal_transport"]),
    Case("flow_matching", SPACE, [*SMALL_FLOW_MATCHING, "path.sigma_min=0.01", "path.width=0.2"]),
    Case("flow_matching", COUNTS, [*SMALL_FLOW_MATCHING, "sampler.solver=heun"]),
    Case("flow_matching", BINARY, [*SMALL_FLOW_MATCHING, "network=mlp", "path.coupling=optimal_transport"]),
    Case("flow_matching", SOUND, [*SMALL_FLOW_MATCHING, "conditional=true"]),
    Case("flow_matching", WAVE, SMALL_FLOW_MATCHING),
    Case("made", GRAY, ["hidden=64"]),
    Case("made", GRAY, ["hidden=64", "blocks=2", "direct=false", "conditional=true"]),
    Case("made", PLANE, ["hidden=64", "conditional=true"]),
    Case("made", COUNTS, ["hidden=64"]),
    Case("made", BINARY, ["hidden=64"]),
    Case("made", TEXT, ["hidden=64"]),
    Case("made", TABLE, ["hidden=64", "components=3"]),
    Case("made", TABLE, ["hidden=64", "conditional=true"]),
    Case("made", NUMBERS, ["hidden=64"]),
    Case("made", COUNTS, ["hidden=64", "orders=3"]),
    Case("made", TABLE, ["hidden=64", "components=2", "conditional=true", "orders=3"]),
    Case("pixelcnn", GRAY, SMALL_PIXELCNN),
    Case("pixelcnn", GRAY, [*SMALL_PIXELCNN, "conditional=true"]),
    Case("pixelcnn", COLOUR, SMALL_PIXELCNN),
    Case("pixelcnn", BINARY, SMALL_PIXELCNN),
    Case("pixelrnn", GRAY, [*SMALL_PIXELRNN, "conditional=true"]),
    Case("pixelrnn", COLOUR, SMALL_PIXELRNN),
    Case("pixelrnn", BINARY, SMALL_PIXELRNN),
    Case("transformer", GRAY, [*SMALL_TRANSFORMER, "conditional=true"]),
    Case("transformer", COLOUR, SMALL_TRANSFORMER),
    Case("transformer", PLANE, SMALL_TRANSFORMER),
    Case("transformer", COUNTS, SMALL_TRANSFORMER),
    Case("transformer", BINARY, SMALL_TRANSFORMER),
    Case("transformer", TEXT, [*SMALL_TRANSFORMER, "conditional=true"]),
    Case("transformer", SOUND, [*SMALL_TRANSFORMER, "conditional=true"]),
    Case("transformer", WAVE, SMALL_TRANSFORMER),
    Case("transformer", TABLE, [*SMALL_TRANSFORMER, "conditional=true"]),
    Case("transformer", NUMBERS, [*SMALL_TRANSFORMER, "positions=rotary"]),
    Case("wavenet", SOUND, [*SMALL_WAVENET, "conditional=true"]),
    Case("wavenet", WAVE, SMALL_WAVENET),
    Case("wavenet", WAVE, [*SMALL_WAVENET, "observation=logistic_mixture", "components=3"]),
    Case("gan", GRAY, SMALL_GAN),
    Case("gan", GRAY, [*SMALL_GAN, "conditional=true"]),
    Case("gan", GRAY, [*SMALL_GAN, "network=mlp", "objective.augment=[color,translation,cutout]"]),
    Case("gan", COLOUR, SMALL_GAN),
    Case("gan", PLANE, [*SMALL_GAN, "conditional=true"]),
    Case("gan", SPACE, SMALL_GAN),
    Case("gan", COUNTS, SMALL_GAN),
    Case("gan", BINARY, SMALL_GAN),
    Case("gan", SOUND, [*SMALL_GAN, "conditional=true"]),
    Case("gan", SERIES, SMALL_GAN),
    Case("gan", SERIES, [*SMALL_GAN, "network=mlp"]),
    Case("gan", TABLE, [*SMALL_GAN, "conditional=true"]),
    Case("gan", ROUNDED, SMALL_GAN),
    Case("wgan_gp", COLOUR, SMALL_GAN),
    Case("wgan_gp", SOUND, SMALL_GAN),
    Case("wgan_gp", SPACE, SMALL_GAN),
    Case("sngan", GRAY, [*SMALL_GAN, "conditional=true"]),
    Case("wgan_gp", TABLE, SMALL_GAN),
    Case("sngan", SPACE, SMALL_GAN),
    Case("sngan", TABLE, SMALL_GAN),
    Case("sngan", WAVE, SMALL_GAN),
    Case("r3gan", COLOUR, SMALL_GAN),
    Case("r3gan", SOUND, SMALL_GAN),
    Case("r3gan", SPACE, SMALL_GAN),
    Case("r3gan", TABLE, SMALL_GAN),
    Case("diffusion", GRAY, SMALL_DIFFUSION),
    Case("diffusion", GRAY, [*SMALL_DIFFUSION, "conditional=true", "guidance=2", "sampler=dpm_solver_2m"]),
    Case("diffusion", GRAY, [*SMALL_DIFFUSION, "network=dit", "parameterization=v", "noise.schedule=cosine"]),
    Case("diffusion", GRAY, [*SMALL_DIFFUSION, "likelihood=vlb", "weighting=likelihood"]),
    Case("diffusion", COLOUR, [*SMALL_DIFFUSION, "parameterization=epsilon", "noise.schedule=linear", "sampler=ddim"]),
    Case("diffusion", COUNTS, [*SMALL_DIFFUSION, "likelihood=none", "weighting=min_snr"]),
    Case("diffusion", BINARY, [*SMALL_DIFFUSION, "network=mlp"]),
    Case("diffusion", BINARY, [*SMALL_DIFFUSION, "network=mlp", "likelihood=vlb", "sampler=ddpm"]),
    Case("diffusion", PLANE, SMALL_DIFFUSION),
    Case("masked_diffusion", TEXT, [*SMALL_MASKED_DIFFUSION, "conditional=true"]),
    Case("diffusion", PLANE, [*SMALL_DIFFUSION, "conditional=true", "noise.schedule=cosine"]),
    Case("diffusion", SOUND, [*SMALL_DIFFUSION, "conditional=true", "guidance=2"]),
    Case("diffusion", SOUND, [*SMALL_DIFFUSION, "likelihood=vlb", "sampler=stochastic_heun"]),
    Case("diffusion", SOUND, [*SMALL_DIFFUSION, "network=unet", "unet.squeeze=3", "tails=asinh"]),
    Case("diffusion", WAVE, SMALL_DIFFUSION),
    Case("diffusion", SPACE, [*SMALL_DIFFUSION, "parameterization=x0"]),
    Case("gmm", SERIES, [*SMALL_GMM, "covariance=full"]),
    Case("vae", SERIES, SMALL_VAE),
    Case("flow", SERIES, SMALL_FLOW),
    Case("flow", SERIES, [*SMALL_FLOW, "network=maf"]),
    Case("made", SERIES, ["hidden=64"]),
    Case("transformer", SERIES, SMALL_TRANSFORMER),
    Case("diffusion", TABLE, SMALL_DIFFUSION),
    Case("diffusion", TABLE, [*SMALL_DIFFUSION, "conditional=true", "guidance=2", "sampler=dpm_solver_2m"]),
    Case("flow_matching", TABLE, SMALL_FLOW_MATCHING),
    Case("diffusion", SERIES, SMALL_DIFFUSION),
    Case("flow_matching", SERIES, SMALL_FLOW_MATCHING),
    Case("forest", SPACE, SMALL_FOREST),
    Case("iwae", TEXT, [*SMALL_VAE, "objective.draws=2"]),
    Case("iwae", SOUND, [*SMALL_VAE, "objective.draws=2"]),
    Case("iwae", SERIES, [*SMALL_VAE, "objective.draws=2"]),
    Case("iwae", TABLE, [*SMALL_VAE, "objective.draws=2"]),
    Case("wgan_gp", SERIES, SMALL_GAN),
    Case("sngan", SERIES, SMALL_GAN),
    Case("r3gan", SERIES, SMALL_GAN),
    Case("vae", NUMBERS, SMALL_VAE),
    Case("iwae", NUMBERS, [*SMALL_VAE, "objective.draws=2"]),
    Case("hvae", NUMBERS, SMALL_HVAE),
    Case("gan", NUMBERS, SMALL_GAN),
    Case("wgan_gp", NUMBERS, SMALL_GAN),
    Case("sngan", NUMBERS, SMALL_GAN),
    Case("r3gan", NUMBERS, SMALL_GAN),
    Case("diffusion", NUMBERS, SMALL_DIFFUSION),
    Case("flow_matching", NUMBERS, SMALL_FLOW_MATCHING),
    Case("flow", ROUNDED, SMALL_FLOW),
    Case("gmm", ROUNDED, SMALL_GMM),
    Case("forest", ROUNDED, SMALL_FOREST),
    Case("vae", ROUNDED, SMALL_VAE),
    Case("made", ROUNDED, ["hidden=64"]),
    Case("diffusion", ROUNDED, SMALL_DIFFUSION),
]


@cache
def _composed(model: str) -> DictConfig:
    return composed([f"model={model}"]).model


def model_config(model: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Return the config of a model with changes, given as on the command line without the leading ``model.``."""
    return OmegaConf.to_container(OmegaConf.merge(_composed(model), OmegaConf.from_dotlist(list(overrides))))


_BUILT: dict[tuple[object, ...], tuple[GenerativeModel, torch.Tensor]] = {}


def make_model(case: Case, seed: int = 0) -> GenerativeModel:
    """The model of a case with starting values from some of its data; the caller's own, to be changed as it likes.

    It is built once and copied, and leaves the global generator as building it does.
    """
    model = shared_model(case, seed)
    torch.set_rng_state(_BUILT[_key(case, seed)][1])
    return copy.deepcopy(model)


def shared_model(case: Case, seed: int = 0) -> GenerativeModel:
    """As `make_model`, for those who only ask: nobody may change it."""
    key = _key(case, seed)
    if key not in _BUILT:
        _BUILT[key] = (_build(case, seed), torch.get_rng_state())
    return _BUILT[key][0]


def _key(case: Case, seed: int) -> tuple[object, ...]:
    return (case.model, case.spec, *case.overrides, seed)


def _build(case: Case, seed: int) -> GenerativeModel:
    config = model_config(case.model, case.overrides)
    torch.manual_seed(seed)
    model: GenerativeModel = instantiate(config, spec=case.spec)
    model.initialize(make_batch(case.spec, 64, seed=1))
    return model


def make_batch(spec: DataSpec, n: int, seed: int = 0) -> Batch:
    """Draw data with some structure: dimensions that depend on each other and values that are not uniform.

    Where lengths differ, an example has at least one value along its last axis and padding after its last.
    """
    noise = torch.Generator().manual_seed(seed)
    shared = torch.randn((n, *[1] * len(spec.shape)), generator=noise)
    real = shared + 0.5 * torch.randn((n, *spec.shape), generator=noise)
    x: Any = real
    if spec.levels is not None:
        x = (torch.sigmoid(real) * spec.levels).long().clamp(0, spec.levels - 1)
        x = x.to(modality_of(spec).dtype(spec))
    for place, column in enumerate(spec.fields):
        if column.levels is not None:
            x[:, place] = (torch.sigmoid(real[:, place]) * column.levels).floor().clamp(0, column.levels - 1)
        elif column.rounded:
            x[:, place] = to_grid(real[:, place], column.decimals)
    y = torch.randint(spec.num_classes, (n,), generator=noise) if spec.num_classes else None
    if not spec.has_mask:
        return Batch(x, y)
    lengths = torch.randint(1, spec.shape[-1] + 1, (n, *[1] * len(spec.shape)), generator=noise)
    mask = (torch.arange(spec.shape[-1]) < lengths).expand(x.shape)
    return Batch(x.where(mask, modality_of(spec).padding(spec)), y, mask)


def labels(model: GenerativeModel, batch: Batch) -> Tensor | None:
    """The labels that a model is told of a batch; None where it is told none."""
    return batch.y if getattr(model, "conditional", False) else None


def perturb(model: GenerativeModel, scale: float = 0.05) -> None:
    """Move every parameter a little: at their start many networks output zero, which hides mistakes."""
    torch.manual_seed(7)
    for parameter in model.parameters():
        parameter.data += scale * torch.randn_like(parameter)
