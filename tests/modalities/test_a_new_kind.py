"""A new kind of data is one file: what stands above the line is all that it takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL.Image import open as open_image
from torch import Tensor

from genlab.core.batch import Batch
from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec
from genlab.modalities import Modality, register, registry
from genlab.modalities.image import image_grid, save_grid


class Field(Modality):
    """Fields of real numbers on a map ``[C, H, W]``, such as heights and temperatures."""

    name = "field"
    axes = ("C", "H", "W")
    layouts = ("grid", "sequence", "flat")
    features = "values"
    sample_figure = "sliced_wasserstein"
    preview_samples_per_image = 2

    def preview(self, samples: Tensor, spec: DataSpec, path: Path, title: str, real: Tensor | None = None) -> bool:
        save_grid(image_grid(samples[:, :1], None), path, title)
        return True


# ----------------------------------------------------------------------------------------------------------------------

SMALL = {
    "gmm": ["components=2", "em_steps=2"],
    "vae": ["latent_dims=2", "conv.channels=[8]", "conv.blocks=0"],
    "made": ["hidden=64"],
    "gan": ["latent_dims=4", "conv.channels=8"],
}
SPEC = DataSpec("heights", "field", (2, 4, 4))


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_MODALITIES", dict(registry._MODALITIES))
    register(Field())
    return


def heights(n: int) -> Tensor:
    noise = torch.Generator().manual_seed(0)
    return torch.randn(n, 1, 1, 1, generator=noise) + 0.3 * torch.randn(n, *SPEC.shape, generator=noise)


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("name", ["gmm", "vae", "made"])
def test_families_train_on_it_score_it_and_draw_it(name: str, tmp_path: Path) -> None:
    from tests.contract.families import Case, make_model

    x = heights(64)
    torch.manual_seed(0)
    model = make_model(Case(name, SPEC, SMALL[name]))
    model.initialize(Batch(x))
    (optimizer,) = model.configure_optimizers()
    before = model.log_prob(x).mean().item()
    for _ in range(30):
        optimizer.zero_grad()
        model.loss(Batch(x))["loss"].backward()
        optimizer.step()
    assert model.log_prob(x).mean().item() > before
    with torch.no_grad():
        samples = model.sample(4, generator=torch.Generator().manual_seed(0))
    assert (samples.shape, samples.dtype) == ((4, *SPEC.shape), torch.float32)
    with pytest.raises(GenlabError, match=r"x has shape \[N, 2, 8, 8\], expected \[N, 2, 4, 4\] \(heights\)"):
        model.log_prob(torch.zeros(3, 2, 8, 8))
    assert registry.modality_of(SPEC).preview(samples, SPEC, tmp_path / "a.png", "a run")
    with open_image(tmp_path / "a.png") as picture:
        assert picture.text["Title"] == "a run"


@pytest.mark.usefixtures("registered")
def test_it_says_what_chooses_a_checkpoint_and_which_network_is_the_default() -> None:
    from tests.contract.families import Case, make_model

    gan = make_model(Case("gan", SPEC, SMALL["gan"]))
    assert gan.monitor == "val/sliced_wasserstein"
    assert "dcgan" in gan.variant


@pytest.mark.usefixtures("registered")
def test_a_training_draws_its_previews(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The callback asks the new kind how many samples a picture shows, and for the picture."""
    from genlab.training.callbacks.sample_grids import SampleGrids
    from tests.contract.families import Case, make_model

    class Data:
        def tensors(self, split: str) -> Batch:
            return Batch(heights(32))

    class Trainer:
        is_global_zero = True
        datamodule = Data()
        loggers = ()

    model, drawn = make_model(Case("gmm", SPEC, SMALL["gmm"])), []
    sample = model.sample
    monkeypatch.setattr(model, "sample", lambda n, **rest: drawn.append(n) or sample(n, **rest))
    SampleGrids(tmp_path, 4, 0, "run").on_validation_epoch_end(Trainer(), model)
    assert drawn == [8]
    assert [file.suffix for file in tmp_path.iterdir()] == [".png"]
