"""What every family promises, over every kind of data that it takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from genlab.core.batch import Batch
from genlab.core.contract import ScoresValues
from genlab.core.likelihood import bits_per_dim
from genlab.core.randomness import Stream, generator
from genlab.measure.likelihood import measure_likelihood
from genlab.measure.protocol import EvaluationProtocol
from genlab.measure.reads import ParameterReads
from genlab.measure.sampling import draw_samples
from genlab.modalities import modality_of
from genlab.models.base import GenerativeModel
from genlab.networks.causal.base import from_raster, to_raster
from genlab.runs.checkpoints import assert_plain
from tests.contract.capabilities import MASKED, MODELS, TIGHTENED, WITH_LIKELIHOOD
from tests.contract.families import (
    BINARY,
    CASES,
    GRAY,
    SMALL_GAN,
    SMALL_VAE,
    Case,
    labels,
    make_batch,
    make_model,
    perturb,
)
from tests.contract.reading_back import ReadsBack

BY_STEPS = [case for case in CASES if MODELS[case.id].learns_by_steps]
LEARNING = [case for case in BY_STEPS if not MODELS[case.id].adversarial]
ADVERSARIAL = {name: made.adversarial for name, made in MODELS.items()}
BY_VALUES = [case for case in CASES if isinstance(MODELS[case.id], ScoresValues) and "orders=3" not in case.overrides]
"""In several orders at once no value comes before another: a sliding window, which asks for this, is told so."""

NOT_SAMPLED = [
    ("gan", GRAY, SMALL_GAN, "discriminator"),
    ("vae", GRAY, SMALL_VAE, "encoder"),
    # Its prior is a mixture of posteriors: it cannot be drawn from without the encoder.
    ("vae", GRAY, [*SMALL_VAE, "network=mlp", "prior.kind=vamp"], None),
    ("made", BINARY, ["hidden=64"], None),
]
"""Models, and the part of each that a sample does not need."""


@pytest.fixture(params=CASES, ids=lambda case: case.id)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture
def model(case: Case) -> GenerativeModel:
    made = make_model(case)
    perturb(made)
    return made


@pytest.mark.parametrize("case", [c for c in CASES if c not in BY_STEPS], ids=lambda case: case.id, indirect=True)
def test_a_model_that_no_step_trains_has_no_parameters_and_a_finite_loss(model: GenerativeModel) -> None:
    assert not list(model.parameters())
    assert model.configure_optimizers() == []
    assert all(torch.isfinite(value).all() for value in model.loss(make_batch(model.spec, 32)).values())


@pytest.mark.parametrize("case", BY_STEPS, ids=lambda case: case.id, indirect=True)
def test_the_loss_is_finite_and_every_parameter_gets_a_gradient(model: GenerativeModel) -> None:
    parts = model.loss(make_batch(model.spec, 32))
    assert parts["loss"].ndim == 0
    assert all(torch.isfinite(value).all() for value in parts.values())
    parts["loss"].backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    still = [name for name, p in model.named_parameters() if p.grad is not None and not p.grad.any()]
    assert not without
    assert not still


@pytest.mark.parametrize("case", BY_STEPS, ids=lambda case: case.id, indirect=True)
def test_a_training_step_reads_nothing_back_from_the_device_or_says_why(model: GenerativeModel) -> None:
    batch = make_batch(model.spec, 8)
    with ReadsBack() as mode:
        model.loss(batch)["loss"].backward()
    assert bool(mode.found) == bool(model.not_captured), "what waits for the device is not replayed as a graph"


def test_what_reads_back_is_found() -> None:
    x = torch.arange(4.0)
    by_value = (x.max().item, lambda: x[x > 1], x.nonzero, lambda: bool(x.any()), lambda: x.masked_select(x > 1))
    for reading in (*by_value, x.tolist, x.numpy, x.cpu):
        with ReadsBack() as mode:
            reading()
        assert len(mode.found) == 1
        assert f" in {__file__}:" in mode.found[0]
    with ReadsBack() as mode:
        torch.where(x > 1, x, 0).sum() + x[torch.tensor([1, 2])].sum()
    assert not mode.found


@pytest.mark.parametrize("case", WITH_LIKELIHOOD, ids=lambda case: case.id, indirect=True)
def test_log_prob_is_a_number_for_each_example(model: GenerativeModel) -> None:
    batch = make_batch(model.spec, 6)
    noise = torch.Generator().manual_seed(0)
    log_prob = model.log_prob(batch.x, labels(model, batch), mask=batch.mask, num_draws=3, generator=noise)
    assert log_prob.shape == (6,)
    assert log_prob.dtype in (torch.float32, torch.float64)
    assert torch.isfinite(log_prob).all()


@pytest.mark.parametrize("case", WITH_LIKELIHOOD, ids=lambda case: case.id, indirect=True)
def test_log_prob_does_not_depend_on_the_batch(model: GenerativeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """One example alone gets what it gets among others, when all noise is held fixed."""
    monkeypatch.setattr(torch, "rand", lambda *size, **_: torch.full(_size(size), 0.4, dtype=torch.float64))
    monkeypatch.setattr(torch, "randn", lambda *size, **_: torch.full(_size(size), 0.3, dtype=torch.float64))
    batch, model = make_batch(model.spec, 3), model.eval().double()
    x, y = (batch.x if model.spec.is_discrete else batch.x.double()), labels(model, batch)
    given = Batch(x, y, batch.mask)
    together = model.log_prob(x, y, mask=batch.mask)
    parts = [given.rows(rows) for rows in (slice(1), slice(1, 3))]
    apart = [model.log_prob(part.x, part.y, mask=part.mask) for part in parts]
    torch.testing.assert_close(together, torch.cat(apart), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("case", BY_VALUES, ids=lambda case: case.id, indirect=True)
def test_the_probabilities_of_values_multiply_to_that_of_the_example(model: GenerativeModel) -> None:
    """And none depends on a value that is read later: else a sliding window would score symbols that it was told."""
    batch = make_batch(model.spec, 3)
    y, raster = labels(model, batch), to_raster(batch.x, model.spec)
    each = model.log_prob_of_values(batch.x, y)
    assert each.shape == (3, model.spec.num_dims)
    torch.testing.assert_close(each.sum(1), model.log_prob(batch.x, y), rtol=1e-4, atol=1e-4)
    middle = model.spec.num_dims // 2
    later = raster.flatten(1).clone()
    later[:, middle:] = later[:, middle:].flip(0)
    changed = from_raster(later.view_as(raster), model.spec)
    torch.testing.assert_close(model.log_prob_of_values(changed, y)[:, :middle], each[:, :middle], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", MASKED, ids=lambda case: case.id, indirect=True)
def test_what_is_masked_out_changes_no_loss_and_no_likelihood(model: GenerativeModel) -> None:
    batch, model = make_batch(model.spec, 8), model.eval()
    assert not batch.mask.all()
    others = torch.full_like(batch.x, model.spec.levels - 1 if model.spec.levels else float("nan"))
    changed = batch._replace(x=batch.x.where(batch.mask, others))

    def figures(given: Batch) -> list[torch.Tensor]:
        torch.manual_seed(0)
        found = [model.loss(given)["loss"].detach()]
        if model.has_likelihood:
            noise = torch.Generator().manual_seed(0)
            found.append(model.log_prob(given.x, labels(model, given), mask=given.mask, generator=noise).detach())
        return found

    assert all(map(torch.equal, figures(batch), figures(changed)))


@pytest.mark.parametrize("case", [c for c in MASKED if c in WITH_LIKELIHOOD], ids=lambda case: case.id, indirect=True)
def test_what_is_there_decides_the_likelihood(model: GenerativeModel) -> None:
    """One value less to predict, or another value that is there, is another probability."""
    batch, model = make_batch(model.spec, 8), model.eval()
    y, whole = labels(model, batch), torch.ones_like(batch.mask)
    drawn = [
        model.log_prob(x, y, mask=mask, generator=torch.Generator().manual_seed(0))
        for x, mask in ((batch.x, whole), (batch.x, batch.mask), ((batch.x + 1) % (model.spec.levels or 4), batch.mask))
    ]
    assert (drawn[0] != drawn[1])[~batch.mask.all(-1)[:, 0]].all()
    assert (drawn[1] != drawn[2]).all()


def test_no_figure_depends_on_the_size_of_a_batch(model: GenerativeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise belongs to the example: what a protocol measures and draws is the same in batches of at most 3 and of 7."""
    monkeypatch.setattr("genlab.models.iterative.fast_bfloat16", lambda _: False)  # whose rounding is no chance
    data, found = make_batch(model.spec, 4), []
    for size in (3, 7):
        protocol = EvaluationProtocol("p", "test", 2, None, 4, size, 0, classification_accuracy=model.conditional)
        likelihood, drawn = measure_likelihood(model.eval(), data, protocol) or {}, draw_samples(model, protocol)
        figures = [likelihood, likelihood.get("one_draw", likelihood)]
        nats = torch.tensor([part[key] for part in figures for key in ("nats", "nats_se") if part])
        labels = torch.zeros(0) if drawn.labels is None else drawn.labels
        found.append((nats, labels, drawn.samples))
        assert drawn.batch_size == min(size, 4)
    for by_three, by_seven in zip(*found, strict=True):
        torch.testing.assert_close(by_three, by_seven, rtol=1e-4, atol=1e-4)
    assert len(drawn.samples.flatten(1).unique(dim=0)) > 1 or model.spec.levels == 2


def _size(size: tuple) -> tuple[int, ...]:
    return tuple(size[0]) if isinstance(size[0], tuple | torch.Size) else size


def test_samples_look_like_the_data(model: GenerativeModel) -> None:
    real = make_batch(model.spec, 2)
    with torch.no_grad():
        samples = model.sample(7, generator=torch.Generator().manual_seed(0))
    assert samples.shape == (7, *model.spec.shape)
    assert samples.dtype == real.x.dtype
    if model.spec.levels is not None:
        assert samples.min() >= 0
        assert samples.max().item() < model.spec.levels
    else:
        assert torch.isfinite(samples).all()


@pytest.mark.parametrize("case", MASKED, ids=lambda case: case.id, indirect=True)
def test_samples_end_with_padding_at_lengths_of_the_data(model: GenerativeModel) -> None:
    """Of training examples that have 3 or 6 values, samples have 3 or 6, and silence after them."""
    batch = make_batch(model.spec, 64)
    lengths = torch.where(torch.arange(64) % 2 == 0, 3, 6)
    mask = (torch.arange(model.spec.shape[-1]) < lengths[:, None, None]).expand_as(batch.x)
    padding = modality_of(model.spec).padding(model.spec)
    model.initialize(Batch(batch.x.where(mask, padding), batch.y, mask))
    with torch.no_grad():
        samples = model.sample(40, generator=torch.Generator().manual_seed(0))
    assert (samples[..., 6:] == padding).all()
    short = (samples[..., 3:] == padding).all(-1)
    assert short.any()
    assert not short.all()


def test_the_same_seed_gives_the_same_samples(model: GenerativeModel) -> None:
    def draw(seed: int) -> torch.Tensor:
        with torch.no_grad():
            return model.sample(4, generator=generator(Stream.SAMPLES, seed))

    first = draw(0)
    torch.rand(3)  # the global generator must not matter
    assert torch.equal(first, draw(0))
    assert not torch.equal(first, draw(1))


def test_a_sample_needs_no_parameter_that_it_is_not_said_to_need(model: GenerativeModel) -> None:
    def sample() -> torch.Tensor:
        return model.eval().sample(3, generator=torch.Generator().manual_seed(0))

    with torch.no_grad(), ParameterReads(model.parameters()) as reads:
        expected = sample()
    for parameter in reads.unread():
        parameter.data.fill_(float("nan"))
    assert torch.equal(sample(), expected)
    assert reads.count + sum(p.numel() for p in reads.unread()) == sum(p.numel() for p in model.parameters())


def test_what_only_trains_is_not_needed_to_sample() -> None:
    for name, spec, overrides, only_trains in NOT_SAMPLED:
        model = make_model(Case(name, spec, overrides))
        with torch.no_grad(), ParameterReads(model.parameters()) as reads:
            model.eval().sample(1, generator=torch.Generator().manual_seed(0))
        part = {id(p) for p in getattr(model, only_trains).parameters()} if only_trains else set()
        assert {id(p) for p in reads.unread()} == part


def test_state_survives_save_and_load(case: Case, model: GenerativeModel, tmp_path: Path) -> None:
    state = model.state_dict()
    assert_plain(state)
    torch.save(state, tmp_path / "model.pt")
    other = make_model(case, seed=5)
    other.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    with torch.no_grad():
        drawn = [m.eval().sample(3, generator=torch.Generator().manual_seed(0)) for m in (model, other)]
    assert torch.equal(*drawn)


@pytest.mark.parametrize("case", LEARNING, ids=lambda case: case.id, indirect=True)
def test_one_batch_can_be_learned(model: GenerativeModel) -> None:
    batch = make_batch(model.spec, 16)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    before = mean_loss(model, batch)
    torch.manual_seed(0)
    for _ in range(25):
        loss = model.loss(batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert mean_loss(model, batch) < before - 0.02


@torch.no_grad()
def mean_loss(model: GenerativeModel, batch: Batch) -> float:
    """The loss of a batch on average over noise, always the same: that of many copies, each with noise of its own."""
    torch.manual_seed(1)
    return model.loss(batch.rows(torch.arange(len(batch.x)).repeat(20)))["loss"].item()


@pytest.mark.parametrize("case", [c for c in CASES if ADVERSARIAL[c.id]], ids=lambda case: case.id, indirect=True)
@pytest.mark.parametrize(("index", "own"), [(0, "g_loss"), (1, "d_loss")])
def test_each_player_of_a_game_learns_while_the_other_stands_still(
    model: GenerativeModel, index: int, own: str
) -> None:
    batch = make_batch(model.spec, 16)
    optimizer = model.configure_optimizers()[index]
    for group in optimizer.param_groups:
        group["lr"] = 6e-3
    torch.manual_seed(0)
    losses = []
    for _ in range(20):
        parts = model.loss(batch)
        optimizer.zero_grad()
        parts["loss"].backward()
        optimizer.step()
        losses.append(parts[own].item())
    assert sum(losses[-5:]) < sum(losses[:5]) - 0.1


@pytest.mark.parametrize("case", TIGHTENED, ids=lambda case: case.id, indirect=True)
def test_more_draws_tighten_the_bound(model: GenerativeModel) -> None:
    batch = make_batch(model.spec, 200)
    torch.manual_seed(0)
    with torch.no_grad():
        one, many = (
            model.log_prob(batch.x, labels(model, batch), mask=batch.mask, num_draws=k).mean() for k in (1, 20)
        )
    assert one < many
    assert bits_per_dim(many, model.spec.num_dims) > 0
