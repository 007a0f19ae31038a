"""The n-gram family: published baselines, masks, the choice of the order, and a training of one step."""

from __future__ import annotations

import itertools
import math
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from genlab.core.batch import Batch
from genlab.core.errors import GenlabError
from genlab.core.randomness import Stream, generator
from genlab.core.spec import DataSpec
from genlab.data.text import Shakespeare
from genlab.models.ngram import NGram
from genlab.runs.checkpoints import load_checkpoint
from genlab.runs.folder import RunDir
from genlab.training.trainer import build_trainer
from tests.tiny import run_folder, train

TEXT = DataSpec("letters", "text", (4,), levels=3)
SOUND = DataSpec("clicks", "waveform", (1, 3), levels=4, has_mask=True)


@pytest.fixture
def real_root() -> Path:
    root = Path(os.environ.get("GENLAB_DATA", "data"))
    if not (root / "tinyshakespeare").is_dir():
        pytest.skip("the files of shakespeare are not in $GENLAB_DATA")
    return root


def ngram(spec: DataSpec, order: int | str = "auto") -> NGram:
    return NGram(spec, name="ngram", order=order)


def chain(n: int, spec: DataSpec, seed: int = 0) -> Batch:
    """Sequences in which each value is one more than that before it, or any, half of the time each; cut short."""
    noise = torch.Generator().manual_seed(seed)
    x = torch.randint(spec.levels, (n, spec.num_dims), generator=noise)
    for place in range(1, spec.num_dims):
        follows = torch.rand(n, generator=noise) < 0.5
        x[:, place] = torch.where(follows, (x[:, place - 1] + 1) % spec.levels, x[:, place])
    lengths = torch.randint(1, spec.num_dims + 1, (n, 1), generator=noise)
    there = torch.arange(spec.num_dims) < lengths
    x, there = x.view(n, *spec.shape), there.view(n, *spec.shape)
    return Batch(x, None, there) if spec.has_mask else Batch(x)


@pytest.mark.parametrize("order", [2, 4, "auto"])
def test_the_probabilities_of_all_texts_sum_to_one(order: int | str) -> None:
    model = ngram(TEXT, order)
    model.initialize(chain(30, TEXT))
    every = torch.tensor(list(itertools.product(range(3), repeat=4)))
    assert model.log_prob(every).exp().sum().item() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_the_probabilities_of_all_sounds_of_a_length_sum_to_one(length: int) -> None:
    model = ngram(SOUND, 3)
    model.initialize(chain(30, SOUND))
    every = torch.tensor([[*values, *[0] * (3 - length)] for values in itertools.product(range(4), repeat=length)])
    there = (torch.arange(3) < length).expand_as(every)
    log_prob = model.log_prob(every[:, None], mask=there[:, None])
    assert log_prob.exp().sum().item() == pytest.approx(1, abs=1e-9)
    # What stands where nothing is changes nothing.
    other = every.where(there, 3)
    assert torch.equal(model.log_prob(other[:, None], mask=there[:, None]), log_prob)


def test_what_is_masked_out_is_not_counted() -> None:
    batch = chain(50, SOUND)
    models = [ngram(SOUND, 3), ngram(SOUND, 3)]
    for model, padding in zip(models, (0, 3), strict=True):
        model.initialize(batch._replace(x=batch.x.where(batch.mask, padding)))
    assert torch.equal(*(model.log_prob(batch.x, mask=batch.mask) for model in models))


def test_samples_have_the_lengths_of_the_data_and_then_silence() -> None:
    batch = chain(400, SOUND)
    batch = batch._replace(mask=torch.arange(3).expand_as(batch.x) < 2, x=batch.x % 2)
    model = ngram(SOUND, 3)
    model.initialize(batch)
    drawn = model.sample(200, generator=generator(Stream.SAMPLES, 0))
    assert drawn.shape == (200, 1, 3)
    assert drawn.dtype == torch.int64
    assert (drawn[..., 2] == 2).all(), "silence is the upper middle one of four levels"
    assert drawn[..., :2].float().mean().item() == pytest.approx(0.5, abs=0.2)


def test_the_order_is_that_of_the_data() -> None:
    """Each value depends on the one before it alone, so that longer contexts are only less sure."""
    model = ngram(DataSpec("letters", "text", (20,), levels=3))
    model.initialize(chain(200, model.spec))
    assert model.counts.order == 2
    assert model.variant == "2-gram, Witten-Bell"
    alone = ngram(model.spec)
    alone.initialize(chain(1, model.spec))  # nothing is left to fit the trial to
    assert alone.log_prob(chain(3, model.spec).x).isfinite().all()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (DataSpec("digits", "image", (1, 8, 8), levels=17), "models text and waveform data, but digits is image"),
        (DataSpec("counts", "vector", (3,), levels=5), "models text and waveform data, but counts is vector"),
        (DataSpec("speech", "waveform", (1, 8)), "counts levels, but speech is continuous"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_what_cannot_be_counted_is_told(spec: DataSpec, message: str) -> None:
    with pytest.raises(GenlabError, match=rf"The ngram family {message}\. Use model=gmm\."):
        ngram(spec)


def test_several_processes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would count for itself, and Lightning's strategies want parameters."""
    several = SimpleNamespace(world_size=2, strategy=None)
    monkeypatch.setattr("genlab.training.trainer._make_trainer", lambda *_, **__: several)
    settings = SimpleNamespace(strategy="auto", precision="32-true", cuda_graphs=False)
    with pytest.raises(GenlabError, match=r"ngram is fitted by one process, without steps. Use trainer=cpu"):
        build_trainer(settings, lambda **_: None, RunDir(tmp_path), ngram(TEXT), [], [])


@pytest.mark.real_data
def test_the_baselines_of_shakespeare_are_met(real_root: Path) -> None:
    """Contexts of 2, 3, 4 and 5 characters on nanoGPT's split: 2.049, 1.774, 1.669 and 1.698 nats a character."""
    data = Shakespeare(real_root, split="nanogpt", length=1000)
    text = data.symbols("validation").long()[None]
    model = ngram(data.spec, 6)
    model.initialize(data.tensors("train"))
    running = [-log_prob.mean().item() for log_prob in model.counts.log_probs(text)]
    assert running[3:] == pytest.approx([2.049, 1.774, 1.669, 1.698], rel=0.01)
    # In windows the first characters have less context: the same model is a little worse, as it should be.
    windows = -model.log_prob(data.tensors("validation").x).mean().item() / data.length
    assert running[-1] < windows < 1.01 * running[-1]


@pytest.mark.real_data
def test_a_training_is_one_step_and_says_what_it_saw(real_root: Path, tmp_path: Path) -> None:
    asked = ["data=shakespeare", f"data.root={real_root}", "data.length=1000", "model.order=3"]
    result = train(tmp_path, *asked, model="ngram")
    assert result.training.stopped_by == "fitted"
    assert result.training.examples_seen == 1003
    assert result.model.variant == "3-gram, Witten-Bell"
    assert 10_000 < result.model.parameters < 15_000, "the n-grams of up to three characters"
    assert result.model.parameters_to_sample == result.model.parameters
    assert result.likelihood.bits_per_dim == pytest.approx(2.05 / math.log(2), rel=0.05)
    checkpoint = load_checkpoint(run_folder(tmp_path) / "checkpoints" / "best.ckpt")
    assert checkpoint["state_dict"]["counts.keys_2"].dtype == torch.int64
    assert train(tmp_path, *asked, model="ngram") == result
