"""Pipelines of others: what they draw, what stands in the table, and what is refused before a library opens it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from genlab.command.evaluate import run as evaluate
from genlab.command.load import load_run
from genlab.core.downloads import no_downloads
from genlab.core.errors import GenlabError
from genlab.core.noise import ExampleNoise, normal
from genlab.core.spec import DataSpec
from genlab.models.pretrained import Pretrained
from genlab.networks.pretrained.folder import trained_on
from genlab.runs.caches import user_cache_folder
from genlab.runs.folder import RunDir, read_config
from tests.hub_server import Hub, serving
from tests.tiny import composed, run_folder, train

SPEC = DataSpec("tiny", "image", (1, 8, 8), levels=17)
CARD = '---\ndatasets:\n- mnist\n- "my\\x1b[31m own"\n---\n# A model\n'


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder for each kind of pipeline, as diffusers saves it, around the same small network."""
    import diffusers

    torch.manual_seed(0)
    unet = diffusers.UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(8,), norm_num_groups=2,
        down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",), add_attention=False,
    )  # fmt: skip
    made = {
        "ddpm": diffusers.DDPMPipeline(unet, diffusers.DDPMScheduler(num_train_timesteps=6)),
        "ddim": diffusers.DDIMPipeline(unet, diffusers.DDIMScheduler(num_train_timesteps=8)),
        "consistency": diffusers.ConsistencyModelPipeline(unet, diffusers.CMStochasticIterativeScheduler()),
    }
    folder = tmp_path_factory.mktemp("pipelines")
    for name, pipeline in made.items():
        pipeline.save_pretrained(folder / name)
    (folder / "ddpm" / "README.md").write_text(CARD)
    return {name: folder / name for name in made}


def model_of(folder: Path | str, spec: DataSpec = SPEC, steps: int | None = None) -> Pretrained:
    return Pretrained(spec, path=str(folder), steps=steps, name="pretrained").eval()


@pytest.mark.parametrize(("kind", "steps"), [("ddpm", None), ("ddim", 4), ("consistency", 3)])
def test_samples_are_those_of_the_librarys_own_pipeline(
    saved: dict[str, Path], monkeypatch: pytest.MonkeyPatch, kind: str, steps: int | None
) -> None:
    import diffusers

    model, noise = model_of(saved[kind], steps=steps), ExampleNoise(3)
    drawn = model.sample(3, generator=ExampleNoise(3))
    for module in ("pipelines.ddpm.pipeline_ddpm", "pipelines.ddim.pipeline_ddim",
                   "pipelines.consistency_models.pipeline_consistency_models", "schedulers.scheduling_ddpm",
                   "schedulers.scheduling_consistency_models"):  # fmt: skip
        monkeypatch.setattr(
            f"diffusers.{module}.randn_tensor",
            lambda shape, dtype=None, **_: normal(shape, noise, torch.device("cpu"), dtype),
        )
    pipeline = diffusers.DiffusionPipeline.from_pretrained(saved[kind], use_safetensors=True)
    pipeline.set_progress_bar_config(disable=True)
    pictures = pipeline(batch_size=3, num_inference_steps=model.nfe, output_type="np").images
    expected = torch.from_numpy(pictures).permute(0, 3, 1, 2)
    assert torch.equal(drawn, (16 * expected).round().to(torch.uint8))
    assert drawn.unique().numel() > 2
    assert model.nfe == {"ddpm": 6, "ddim": 4, "consistency": 3}[kind]


@pytest.mark.parametrize("kind", ["ddpm", "consistency"])
def test_a_sample_does_not_depend_on_its_batch(saved: dict[str, Path], kind: str) -> None:
    model = model_of(saved[kind], steps=3)
    together = model.sample(4, generator=ExampleNoise(1))
    apart = [model.sample(2, generator=ExampleNoise(1, first)) for first in (0, 2)]
    assert torch.equal(together, torch.cat(apart))
    assert not torch.equal(together[0], together[1])


def test_it_stands_in_the_table_without_a_training(saved: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "pipeline"
    shutil.copytree(saved["ddpm"], folder)
    logs = [f"paths.logs={tmp_path}"]
    result = train(tmp_path, f"model.path={folder}", "model.steps=2", "evaluation.num_samples=100", model="pretrained")
    network = sum(p.numel() for p in model_of(folder)._pipeline[0].networks[0].parameters())
    assert result.model.parameters == result.model.parameters_to_sample == network
    assert result.model.variant == r"DDPMPipeline, trained on: mnist, my\x1b[31m own (its card)"
    assert result.likelihood is None
    assert result.quality.get("fid") > 0
    assert result.sampling.nfe == 2
    assert result.sampling.ms_per_sample > 0
    assert (result.training.examples_seen, result.training.checkpoint) == (None, "none")
    assert result.reason("training.wall_seconds") == "others have trained it"
    place = run_folder(tmp_path)
    assert (place / "checkpoints" / "best.ckpt").stat().st_size < 10_000
    again = evaluate(
        composed(
            [f"run={place}", "evaluation=quick", "evaluation.num_samples=100", "evaluation.max_examples=50", *logs],
            "evaluate",
        )
    )
    assert again.result.quality.get("fid") == result.quality.get("fid")
    assert load_run(place, sampling={"steps": 3}).nfe == 3
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(GenlabError, match="other files than those that this run is of"):
        load_run(place)


def _named(key: str, value: object, file: str = "model_index.json") -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / file
        path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))

    return change


def _pickled(folder: Path) -> None:
    os.replace(folder / "unet/diffusion_pytorch_model.safetensors", folder / "unet/diffusion_pytorch_model.bin")


def _linked(folder: Path) -> None:
    outside = folder.parent / "outside.safetensors"
    os.replace(folder / "unet/diffusion_pytorch_model.safetensors", outside)
    (folder / "unet/diffusion_pytorch_model.safetensors").symlink_to(outside)


def _cut(folder: Path) -> None:
    path = folder / "unet/diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:500])


def _divided(folder: Path) -> None:
    (folder / "unet/diffusion_pytorch_model.safetensors.index.json").write_text('{"weight_map": {"a": "../../b"}}')


HOSTILE = [
    (_named("_class_name", "StableDiffusionPipeline"), "names the pipeline 'StableDiffusionPipeline', expected one of"),
    (_named("unet", ["os", "system"]), r"unet: \['os', 'system'\], expected UNet2DModel of diffusers"),
    (_named("unet", ["diffusers", "UNet2DConditionModel"]), "expected UNet2DModel of diffusers"),
    (_named("scheduler", ["my_code", "DDPMScheduler"]), "expected DDPMScheduler or DDIMScheduler of diffusers"),
    (_named("extra", ["my_code", "Thing"]), "has extra: .* expected no such part"),
    (_named("_class_name", "AutoencoderKL", "unet/config.json"), "is of 'AutoencoderKL', expected UNet2DModel"),
    (_named("auto_map", {"x": "y"}, "unet/config.json"), "has auto_map, which is not read here"),
    (_named("num_class_embeds", 10, "unet/config.json"), "draws given classes"),
    (_named("out_channels", 2, "unet/config.json"), "makes 2 channels of 1"),
    (_named("sample_size", -1, "unet/config.json"), "sample_size is -1"),
    (_named("layers_per_block", 2, "unet/config.json"), r"are not those of its config.json: [\d,]+ numbers, expected "),
    (_named("layers_per_block", 0, "unet/config.json"), "are not those of its config.json: '.*' and .* more differ"),
    (_named("layers_per_block", 300, "unet/config.json"), "layers_per_block stands for 300 layers, but .* tensors"),
    (_named("down_block_types", ["DownBlock2D"] * 99, "unet/config.json"), "block_out_channels stands for 99 layers"),
    (_named("block_out_channels", [2**20], "unet/config.json"), "numbers, expected"),
    (_named("num_train_timesteps", 10**12, "scheduler/scheduler_config.json"), "num_train_timesteps is 1000000000000"),
    (_named("beta_schedule", "mine", "scheduler/scheduler_config.json"), "diffusers cannot make DDPMPipeline of"),
    (_pickled, r"has weights as diffusion_pytorch_model.bin, which may run code.*save them as safetensors"),
    (_linked, "is a link out of that folder"),
    (_cut, "diffusers cannot make DDPMPipeline of"),
    (_divided, "are in several files"),
    (lambda folder: (folder / "model_index.json").write_text("[" * 10**5), "is damaged"),
    (lambda folder: (folder / "model_index.json").write_text(" " * 2**21), "expected at most"),
    (lambda folder: (folder / "model_index.json").unlink(), "has no model_index.json"),
]


@pytest.mark.parametrize("number", range(len(HOSTILE)), ids=lambda number: HOSTILE[number][1][:40])
def test_what_could_run_code_or_is_damaged_is_refused(saved: dict[str, Path], tmp_path: Path, number: int) -> None:
    change, line = HOSTILE[number]
    folder = tmp_path / "pipeline"
    shutil.copytree(saved["ddpm"], folder)
    change(folder)
    with pytest.raises(GenlabError, match=line) as caught:
        model_of(folder)
    assert str(caught.value).count("\n") < 2


def test_what_does_not_fit_is_refused(saved: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(GenlabError, match=r"draws pictures \[1, 8, 8\], but those of large are \[3, 32, 32\]"):
        model_of(saved["ddpm"], DataSpec("large", "image", (3, 32, 32), levels=256))
    with pytest.raises(GenlabError, match=r"model.steps is 7, expected at most the 6 of its training"):
        model_of(saved["ddpm"], steps=7)
    with pytest.raises(GenlabError, match=r"model.guidance is 2, but DDPMPipeline is told no classes. Leave model.gu"):
        Pretrained(SPEC, path=str(saved["ddpm"]), steps=None, guidance=2.0, name="pretrained")
    assert "is continuous" in (Pretrained.unsupported(DataSpec("real", "image", (1, 8, 8))) or "")
    for path, line in ((None, "model.path is not given"), ("hf://name", "is no address"),
                       (str(tmp_path / "no"), "is no folder"), ("x" * 5000, "is no folder")):  # fmt: skip
        with pytest.raises(GenlabError, match=line):
            Pretrained(SPEC, path=path, steps=None, name="pretrained")


def test_the_first_pipelines_lie_in_one_folder(saved: dict[str, Path], tmp_path: Path) -> None:
    for file in saved["ddpm"].rglob("*.*"):
        if file.is_file():
            shutil.copy(file, tmp_path / file.name)
    drawn = [model_of(folder).sample(2, generator=ExampleNoise(0)) for folder in (tmp_path, saved["ddpm"])]
    assert torch.equal(*drawn)


@pytest.mark.parametrize(
    ("card", "said"),
    [
        ("---\ndatasets: cifar10\n---\n", "cifar10 (its card)"),
        ("---\nlicense: mit\n---\n", "unknown"),
        ("---\ndatasets: [&a x, *a]\n---\n", "unknown"),
        ("---\ndatasets: !!python/object/apply:os.system [id]\n---\n", "unknown"),
        ("# No head\ndatasets: x\n", "unknown"),
    ],
)
def test_the_card_says_what_it_was_trained_on(tmp_path: Path, card: str, said: str) -> None:
    assert trained_on(tmp_path) == "unknown"
    (tmp_path / "README.md").write_text(card)
    assert trained_on(tmp_path) == said


WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
OPENED = ["README.md", "model_index.json", "scheduler/scheduler_config.json", "unet/config.json", WEIGHTS]


@pytest.fixture
def hub(saved: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that has a pipeline, and an empty cache folder."""
    monkeypatch.setenv("GENLAB_HOME", str(tmp_path / "home"))
    with serving(monkeypatch) as hub:
        hub.put("ada/ddpm", saved["ddpm"])
        yield hub


def _kept() -> list[Path]:
    return [path for path in user_cache_folder().rglob("*") if path.is_file()]


def test_a_pipeline_is_pulled_once_and_its_commit_named(hub: Hub, saved: dict[str, Path]) -> None:
    hub.models["ada/ddpm"] |= {"unet/setup.py": b"", "unet/diffusion_pytorch_model.bin": b"", "model.ckpt": b""}
    first, pinned = hub.commit("ada/ddpm"), f"hf://ada/ddpm@{hub.commit('ada/ddpm')}"
    model = model_of("hf://ada/ddpm")
    assert torch.equal(*(each.sample(2, generator=ExampleNoise(0)) for each in (model, model_of(saved["ddpm"]))))
    assert model.variant == rf"DDPMPipeline of {pinned}, trained on: mnist, my\x1b[31m own (its card)"
    assert sorted(path.relative_to(model.folder).as_posix() for path in _kept()) == OPENED
    fetched = [path.partition("/resolve/")[2] for _, path, _ in hub.requests if "/resolve/" in path]
    assert sorted(fetched) == [f"{first}/{name}" for name in OPENED]
    asked = len(hub.requests)
    with no_downloads():
        assert model_of(pinned).variant == model.variant
        with pytest.raises(GenlabError, match="hf://ada/ddpm is not in the cache folder, and nothing is pulled here"):
            model_of("hf://ada/ddpm")
    assert len(hub.requests) == asked, "a commit that is there is asked about"
    assert model_of("hf://ada/ddpm@main").folder == model.folder
    assert len(hub.requests) == asked + 1, "the files are fetched again"
    hub.put("ada/ddpm", saved["ddim"])
    assert "DDIMPipeline of hf://ada/ddpm@" in model_of("hf://ada/ddpm").variant
    assert model_of(pinned).variant == model.variant


def test_a_run_of_a_branch_stays_that_of_the_commit_that_it_was(
    hub: Hub, saved: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned, asked = f"hf://ada/ddpm@{hub.commit('ada/ddpm')}", ["model.path=hf://ada/ddpm", "model.steps=1"]
    result = train(tmp_path, *asked, model="pretrained")
    assert f" of {pinned}, " in result.model.variant
    assert read_config(RunDir(run_folder(tmp_path)))["model"]["path"] == pinned
    drawn = load_run(run_folder(tmp_path)).sample(2, generator=ExampleNoise(0))
    hub.put("ada/ddpm", saved["ddim"])
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    loaded = load_run(run_folder(tmp_path))
    assert torch.equal(loaded.sample(2, generator=ExampleNoise(0)), drawn)
    again = train(tmp_path, *asked, "evaluation.name=other", model="pretrained")
    assert again.model.variant == result.model.variant
    assert again.config_hash == result.config_hash
    with pytest.raises(GenlabError, match=r"no connection to .* Pulled before: hf://ada/ddpm@"):
        train(tmp_path, *asked, "rerun=true", model="pretrained")


@pytest.mark.parametrize(
    ("key", "value", "file", "line"),
    [
        ("unet", ["os", "system"], "model_index.json", r"^hf://ada/ddpm@[0-9a-f]{40}/model_index.json has unet: "),
        (
            "auto_map",
            {},
            "unet/config.json",
            r"^hf://ada/ddpm@[0-9a-f]{40}/unet/config.json has auto_map, which is",
        ),
        ("num_train_timesteps", 0, "scheduler/scheduler_config.json", r"^hf://ada/ddpm@[0-9a-f]{40}: num_train_times"),
    ],
)
def test_what_is_not_read_here_is_refused_before_its_weights_are_fetched(
    hub: Hub, key: str, value: object, file: str, line: str
) -> None:
    files = hub.models["ada/ddpm"]
    files[file] = json.dumps({**json.loads(files[file]), key: value}).encode()
    with pytest.raises(GenlabError, match=line):
        model_of("hf://ada/ddpm")
    assert not [path for _, path, _ in hub.requests if path.endswith(".safetensors")]
    assert not _kept()


def test_a_repository_of_pickles_is_left(hub: Hub) -> None:
    files = hub.models["ada/ddpm"]
    files["unet/diffusion_pytorch_model.bin"] = files.pop(WEIGHTS)
    with pytest.raises(GenlabError, match=r"^hf://ada/ddpm/unet has weights as diffusion_pytorch_model.bin, which may"):
        model_of("hf://ada/ddpm")
    files["unet/diffusion_pytorch_model.safetensors.index.json"] = b""
    with pytest.raises(GenlabError, match="in several files"):
        model_of("hf://ada/ddpm")
    hub.models["ada/ddpm"] = {"README.md": b""}
    with pytest.raises(GenlabError, match=r"hf://ada/ddpm has no model_index.json: it is no pretrained model"):
        model_of("hf://ada/ddpm")
    assert not [path for _, path, _ in hub.requests if path.endswith((".bin", ".safetensors"))]
    assert not _kept()


@pytest.mark.parametrize(
    ("name", "says", "line"),
    [
        ("unet/config.json", {"size": 10_000}, r"unet/config.json was cut off after [\d,]+ of 10,000 bytes"),
        ("unet/config.json", {"size": 10}, r"unet/config.json is larger than 10 bytes"),
        (WEIGHTS, {"lfs": {"size": 1, "sha256": "0" * 64, "pointerSize": 1}}, f"{WEIGHTS} is not what http.* says"),
        (WEIGHTS, {"size": 2**60}, f"{WEIGHTS} has 1,152,921,504,606,846,976 bytes, expected at most"),
        ("README.md", {"size": 2**21}, "README.md has 2,097,152 bytes, expected at most 1,048,576"),
        ("README.md", {"size": None}, "does not say how large README.md is"),
        ("README.md", {"size": "9"}, "cannot be read"),
    ],
)
def test_what_is_cut_off_too_large_or_other_than_the_hub_says_is_left(
    hub: Hub, name: str, says: dict[str, object], line: str
) -> None:
    hub.says = {name: says}
    with pytest.raises(GenlabError, match=line) as caught:
        model_of("hf://ada/ddpm")
    assert "\n" not in str(caught.value)
    assert not _kept()


TROUBLE: dict[int | str, str] = {
    "cut": "the connection was cut off",
    "endless": "cannot be read|is larger than",
    "nonsense": "cannot be read|was cut off after",
    401: "the Hub says 401: it is private, missing",
    404: "the Hub says 404",
    429: "too many requests. Try again in 7 s",
    503: "it has trouble of its own",
    "http://127.0.0.1:9": "there is no connection to",
}


@pytest.mark.parametrize("trouble", TROUBLE, ids=str)
@pytest.mark.parametrize("place", ["listing", "model_index.json", "unet/config.json", WEIGHTS])
def test_trouble_of_the_hub_leaves_nothing(hub: Hub, place: str, trouble: int | str) -> None:
    path = "/api/models/ada/ddpm" if place == "listing" else f"/ada/ddpm/resolve/{hub.commit('ada/ddpm')}/{place}"
    hub.trouble = {f"GET {path}": trouble}
    with pytest.raises(GenlabError, match=rf"^hf://ada/ddpm.*({TROUBLE[trouble]})") as caught:
        model_of("hf://ada/ddpm")
    said = str(caught.value)
    assert "\n" not in said
    assert hub.token not in said
    assert "<b>" not in said
    assert not _kept()


def test_a_full_disk_leaves_nothing(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=10)
    monkeypatch.setattr("genlab.runs.pulling.shutil.disk_usage", lambda folder: usage)
    with pytest.raises(GenlabError, match=r"cannot be kept: .* 10 are free"):
        model_of("hf://ada/ddpm")
    assert not _kept()
