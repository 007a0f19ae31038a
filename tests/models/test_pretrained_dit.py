"""DiT of others: the library's own pictures of given classes, what they cost, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from genlab.core.errors import GenlabError
from genlab.core.noise import ExampleNoise, normal
from genlab.core.spec import DataSpec
from genlab.measure.protocol import EvaluationProtocol
from genlab.measure.sampling import draw_samples
from genlab.models.pretrained import Pretrained
from genlab.networks.pretrained.pipeline_folder import pipeline_files

CLASSES = 1000
"""As the library's pipeline takes it for granted: its class without a class is number 1000."""
SPEC = DataSpec("tiny", "image", (1, 8, 8), levels=17, num_classes=CLASSES)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as diffusers saves it: one block on latents of 2 x 4 x 4, and an autoencoder that doubles their side."""
    import diffusers

    torch.manual_seed(0)
    transformer = diffusers.DiTTransformer2DModel(
        num_attention_heads=1, attention_head_dim=8, in_channels=2, out_channels=4, num_layers=1, sample_size=4,
        num_embeds_ada_norm=CLASSES, norm_num_groups=1,
    )  # fmt: skip
    autoencoder = diffusers.AutoencoderKL(
        in_channels=1, out_channels=1, down_block_types=("DownEncoderBlock2D",) * 2, latent_channels=2,
        up_block_types=("UpDecoderBlock2D",) * 2, block_out_channels=(4, 4), norm_num_groups=2, scaling_factor=0.5,
    )  # fmt: skip
    scheduler = diffusers.DDIMScheduler(num_train_timesteps=8, clip_sample=False)
    folder = tmp_path_factory.mktemp("pipelines") / "dit"
    diffusers.DiTPipeline(transformer, autoencoder, scheduler, {0: "one, two"}).save_pretrained(folder)
    return folder


def model_of(folder: Path, spec: DataSpec = SPEC, guidance: float | None = None) -> Pretrained:
    return Pretrained(spec, path=str(folder), steps=3, guidance=guidance, name="pretrained").eval()


@pytest.mark.parametrize("guidance", [None, 1.0])
def test_samples_are_those_of_the_librarys_own_pipeline(
    saved: Path, monkeypatch: pytest.MonkeyPatch, guidance: float | None
) -> None:
    import diffusers

    model, noise, y = model_of(saved, guidance=guidance), ExampleNoise(3), torch.tensor([0, 999, 5])
    drawn = model.sample(3, y, generator=ExampleNoise(3))
    monkeypatch.setattr(
        "diffusers.pipelines.dit.pipeline_dit.randn_tensor",
        lambda shape, dtype, **_: normal(shape, noise, torch.device("cpu"), dtype),
    )
    pipeline = diffusers.DiffusionPipeline.from_pretrained(saved, use_safetensors=True)
    pipeline.set_progress_bar_config(disable=True)
    scale = {} if guidance is None else {"guidance_scale": guidance}
    pictures = pipeline(y.tolist(), num_inference_steps=3, output_type="np", **scale).images
    expected = torch.from_numpy(pictures).permute(0, 3, 1, 2)
    assert torch.equal(drawn, (16 * expected).round().to(torch.uint8))
    assert drawn.unique().numel() > 2
    assert not torch.equal(drawn, model.sample(3, y.flip(0), generator=ExampleNoise(3))), "classes change nothing"


def test_what_it_costs_and_is_told(saved: Path) -> None:
    model = model_of(saved)
    protocol = EvaluationProtocol("tiny", "test", 1, None, 4, 2, 0)
    drawn = draw_samples(model, protocol)
    transformer, autoencoder = model._pipeline[0].networks
    unused = [autoencoder.encoder, autoencoder.quant_conv]
    assert model.num_parameters == sum(p.numel() for part in (transformer, autoencoder) for p in part.parameters())
    assert drawn.parameters == model.num_parameters - sum(p.numel() for part in unused for p in part.parameters())
    assert drawn.labels is not None, "each sample is drawn for a class"
    assert model.nfe == 6, "two evaluations for a step, which guidance takes"
    assert model.variant == "DiTPipeline, class-conditional, guidance 4, trained on: unknown"
    assert (model_of(saved, guidance=1).nfe, model.num_classes) == (3, CLASSES)
    assert not model.state_dict().keys() - {"files"}, "a run holds no weights of it"
    apart = torch.cat([model.sample(2, y=drawn.labels[first : first + 2],
                                    generator=ExampleNoise(1, first)) for first in (0, 2)])  # fmt: skip
    assert torch.equal(apart, model.sample(4, y=drawn.labels, generator=ExampleNoise(1)))


@pytest.mark.parametrize(("classes", "has"), [(10, "10"), (None, "none")])
def test_data_of_other_classes_is_refused(saved: Path, classes: int | None, has: str) -> None:
    spec = DataSpec("small", "image", (1, 8, 8), levels=17, num_classes=classes)
    with pytest.raises(GenlabError, match=f"draws 1,000 classes, but small has {has}. Choose data that has its cl"):
        model_of(saved, spec)


def _named(key: str, value: object, file: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / file
        path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))

    return change


def _pickled(folder: Path) -> None:
    os.replace(folder / "vae/diffusion_pytorch_model.safetensors", folder / "vae/diffusion_pytorch_model.bin")


TRANSFORMER, AUTOENCODER, INDEX = "transformer/config.json", "vae/config.json", "model_index.json"
HOSTILE = [
    (_named("vae", ["my_code", "AutoencoderKL"], INDEX), "has vae: .* expected AutoencoderKL of diffusers"),
    (
        _named("transformer", ["diffusers", "UNet2DModel"], INDEX),
        "expected DiTTransformer2DModel or Transf",
    ),
    (_named("scheduler", ["diffusers", "DDPMScheduler"], INDEX), "expected DDIMScheduler of diffusers"),
    (_named("auto_map", {"a": "b"}, AUTOENCODER), "vae/config.json has auto_map, which is not read here"),
    (_named("num_embeds_ada_norm", 0, TRANSFORMER), "num_embeds_ada_norm is 0, expected 1 to"),
    (_named("patch_size", 3, TRANSFORMER), "which patches of 3 do not fill"),
    (_named("out_channels", 3, TRANSFORMER), "makes 3 channels of 2, expected as many, or twice"),
    (_named("latent_channels", 4, AUTOENCODER), "decodes 4 channels, and the transformer makes 2"),
    (_named("scaling_factor", 0, AUTOENCODER), "scaling_factor is 0, expected a number > 0"),
    (_named("num_layers", 2, TRANSFORMER), "are not those of its config.json"),
    (_named("num_layers", 300, TRANSFORMER), "num_layers stands for 300 layers, but "),
    (_named("layers_per_block", 150, AUTOENCODER), "layers_per_block stands for 300 layers, but "),
    (_named("num_attention_heads", 2**14, TRANSFORMER), "numbers, expected"),
    (_pickled, "vae has weights as diffusion_pytorch_model.bin, which may run code"),
]


@pytest.mark.parametrize("number", range(len(HOSTILE)), ids=lambda number: HOSTILE[number][1][:40])
def test_what_could_run_code_or_is_no_dit_is_refused(saved: Path, tmp_path: Path, number: int) -> None:
    change, line = HOSTILE[number]
    folder = tmp_path / "dit"
    shutil.copytree(saved, folder)
    change(folder)
    with pytest.raises(GenlabError, match=line) as caught:
        model_of(folder)
    assert "\n" not in str(caught.value)


def test_more_places_than_the_memory_holds_are_refused(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their embedding is in no file of weights: what is computed of ``sample_size`` alone."""
    monkeypatch.setattr("genlab.networks.pretrained.pipeline_folder.memory_bytes", lambda: 2**27)
    shutil.copytree(saved, tmp_path / "dit")
    _named("sample_size", 4096, TRANSFORMER)(tmp_path / "dit")
    with pytest.raises(GenlabError, match=r"transformer/config.json is of a network of .*, expected at most"):
        model_of(tmp_path / "dit")


def test_it_is_read_by_the_name_that_its_transformer_had_before(saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "dit"
    shutil.copytree(saved, folder)
    _named("transformer", ["diffusers", "Transformer2DModel"], INDEX)(folder)
    _named("_class_name", "Transformer2DModel", TRANSFORMER)(folder)
    y = torch.tensor([1, 2])
    drawn = [model_of(each).sample(2, y, generator=ExampleNoise(0)) for each in (folder, saved)]
    assert torch.equal(*drawn)


def test_its_settings_are_fetched_before_its_weights(saved: Path, tmp_path: Path) -> None:
    names = {path.relative_to(saved).as_posix() for path in saved.rglob("*") if path.is_file()}
    stages, folder = [], tmp_path / "fetched"
    while new := pipeline_files(names, folder).keys() - {name for stage in stages for name in stage}:
        stages.append(sorted(new))
        for name in new:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(saved / name, folder / name)
    weights = [f"{part}/diffusion_pytorch_model.safetensors" for part in ("transformer", "vae")]
    assert stages == [[INDEX], ["scheduler/scheduler_config.json", TRANSFORMER, AUTOENCODER], weights]
    assert {name for stage in stages for name in stage} == names
