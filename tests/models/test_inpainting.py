"""What is filled in comes from the model given the rest: against enumeration, grids and closed forms."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from genlab.core.contract import Inpaints
from genlab.core.noise import ExampleNoise
from genlab.core.spec import DataSpec
from genlab.models.base import GenerativeModel
from genlab.networks.blocks.lengths import Lengths
from genlab.networks.causal.completion import Choice, comes_first
from genlab.networks.diffusion.inpainting import NoiseLevel, Stepwise, repaint
from genlab.networks.diffusion.samplers import ddpm
from tests.contract.families import (
    BINARY,
    CASES,
    COUNTS,
    PLANE,
    SERIES,
    TABLE,
    TEXT,
    Case,
    make_batch,
    make_model,
    perturb,
    shared_model,
)

INPAINTING = [case for case in CASES if isinstance(shared_model(case), Inpaints)]
N = 4000


def made(
    model: str, spec: DataSpec, *overrides: str, scale: float = 1.0, only: tuple[str, ...] = ("",)
) -> GenerativeModel:
    """A model whose values depend on each other by far: its parameters, or only some of them, are moved a lot."""
    like = next(c for c in CASES if c.model == model and c.spec == spec)
    found = make_model(Case(model, spec, [*like.overrides, *overrides]))
    noise = torch.Generator().manual_seed(3)
    for name, parameter in found.named_parameters():
        if name.startswith(only):
            parameter.data += scale * torch.randn(parameter.shape, generator=noise)
    return found.eval().requires_grad_(False)


def noise(seed: int = 0) -> ExampleNoise:
    return ExampleNoise(seed)


def check_frequencies(
    model: GenerativeModel, given: list[int], kept: list[bool], *, n: int = N, draws: int = 1, rounds: int | None = None
) -> None:
    """Hold what is filled in to the model's own probabilities of all that can stand there."""
    spec, levels = model.spec, model.spec.levels or 0
    free = [place for place, is_kept in enumerate(kept) if not is_kept]
    values = torch.tensor(list(itertools.product(range(levels), repeat=len(free))))
    every = torch.tensor(given).repeat(len(values), 1)
    every[:, free] = values
    every = model.codec.as_data(every.view(-1, *spec.shape))
    expected = model.log_prob(every, num_draws=draws, generator=noise(9)).double().softmax(0)
    mask, x = torch.tensor(kept).view(spec.shape), model.codec.as_data(torch.tensor(given)).view(1, *spec.shape)
    filled = model.inpaint(x.expand(n, *spec.shape), mask, generator=noise(), rounds=rounds)
    assert torch.equal(filled[:, mask], x[:, mask].expand(n, -1))
    within = 4.5 * (expected * (1 - expected) / n).sqrt() + 2e-3

    def shares(x: Tensor) -> Tensor:
        number = x.flatten(1)[:, free].long() @ torch.tensor([levels**k for k in range(len(free))][::-1])
        return torch.bincount(number, minlength=len(every)).double() / n

    assert ((shares(filled) - expected).abs() < within).all(), (shares(filled), expected)
    # Without regard to what is kept it would be something else.
    assert not ((shares(model.sample(n, generator=noise(1))) - expected).abs() < within).all()


def test_an_autoregressive_model_is_exact_after_what_is_given() -> None:
    model = made("made", BINARY)
    assert model.inpainting(torch.tensor([[[[True, True], [False, False]]]])).is_exact
    check_frequencies(model, [1, 0, 0, 0], [True, True, False, False], rounds=0)


@pytest.mark.parametrize("kept", [[False, False, True, True], [True, False, False, True]])
def test_sweeps_become_exact_where_what_is_given_comes_last(kept: list[bool]) -> None:
    model = made("made", BINARY, scale=0.4)
    assert not model.inpainting(torch.tensor(kept).view(1, 1, 2, 2)).is_exact
    check_frequencies(model, [1, 0, 0, 1], kept, rounds=10)


def test_resampling_alone_comes_nearer_than_what_is_drawn_without_regard() -> None:
    model, kept = made("made", BINARY, scale=0.4), torch.tensor([[False, False], [False, True]])
    x = torch.tensor([0, 0, 0, 1], dtype=torch.uint8).view(1, 1, 2, 2).expand(N, 1, 2, 2)
    every = torch.tensor([[*v, 1] for v in itertools.product((0, 1), repeat=3)], dtype=torch.uint8).view(8, 1, 2, 2)
    expected = model.log_prob(every).double().softmax(0)

    def distance(x: Tensor) -> float:
        number = x.flatten(1)[:, :3].long() @ torch.tensor([4, 2, 1])
        return (torch.bincount(number, minlength=8) / N - expected).abs().sum().item()

    blind = model.draw(model.network.steps(N), noise(), x, kept.expand_as(x))
    assert distance(model.inpaint(x, kept, generator=noise(), rounds=0)) < 0.4 * distance(blind)


@pytest.mark.parametrize(
    ("spec", "scale", "first"), [(BINARY, 2.0, 1), (COUNTS, 0.0, 0), (TEXT, 2.0, 1)], ids=lambda value: str(value)[:30]
)
def test_a_mixture_is_exact(spec: DataSpec, scale: float, first: int) -> None:
    mixture = made("gmm", spec, "covariance=diagonal", "em_steps=20", scale=scale)
    assert mixture.inpainting(torch.zeros(1, *spec.shape, dtype=torch.bool)).is_exact
    kept = [True] + [False] * (spec.num_dims - 2) + [True]
    check_frequencies(mixture, [first] * (spec.num_dims - 1) + [0], kept)


def test_the_chain_of_a_vae_becomes_exact() -> None:
    # The posterior stays what it is at the start, near the prior: without rejection the chain would be far off.
    model = made("vae", BINARY, "network=mlp", "latent_dims=2", scale=0.5, only=("decoder",))
    check_frequencies(model, [1, 0, 0, 1], [True, False, False, True], n=1500, draws=3000, rounds=20)


@pytest.mark.parametrize("case", [c for c in CASES if c.model in ("vae", "hvae")], ids=lambda case: case.id)
def test_latents_weigh_in_the_chain_what_they_weigh_in_the_bound(case: Case) -> None:
    model, batch = make_model(case).eval(), make_batch(case.spec, 3, seed=2)
    perturb(model)
    with torch.no_grad():
        inputs, observed, _ = model._embed(batch.x, batch.mask)
        inferred, drawn = model.infer(inputs), torch.randn(3, model.num_latents)
        weights = model.log_weight(observed, inferred, model.propose(inferred, drawn))
        assert torch.allclose(weights, model.draw(observed, inferred, drawn[None]).log_weights[0], atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize(
    ("spec", "scale", "given"), [(BINARY, 0.15, [1, 0, 0, 1]), (COUNTS, 0.15, [3, 0, 1])], ids=["levels", "counts"]
)
def test_the_chain_of_a_flow_becomes_exact(spec: DataSpec, scale: float, given: list[int]) -> None:
    # Moved further, its density is so narrow within a cell that no number of draws tells the cell's probability.
    model = made("flow", spec, "network=nsf", "vector.transforms=3", scale=scale)
    kept = [True] + [False] * (spec.num_dims - 2) + [True]
    check_frequencies(model, given, kept, n=300, draws=500, rounds=16)
    assert str(model.inpainting(torch.tensor([kept]))).startswith("approximate: Hamiltonian Monte Carlo, 100 steps")


def test_the_chain_of_a_continuous_flow_becomes_exact() -> None:
    """Mean and spread of one value given the other, against a sum over a fine grid of the density."""
    model = made("flow", PLANE, scale=0.3)
    grid, n = torch.linspace(-12, 12, 3001), 500
    weight = model.log_prob(torch.stack([torch.full_like(grid, 2.0), grid], 1)).double().softmax(0)
    mean = (weight * grid).sum()
    deviation = (weight * (grid - mean).square()).sum().sqrt()
    given = torch.tensor([[2.0, 0.0]]).expand(n, 2)
    filled = model.inpaint(given, torch.tensor([True, False]), generator=noise(), rounds=40)
    assert torch.equal(filled[:, 0], given[:, 0])
    assert abs(filled[:, 1].double().mean() - mean) < 4.5 * deviation / math.sqrt(n)
    assert filled[:, 1].std().item() == pytest.approx(deviation.item(), rel=0.1)
    assert abs(mean - model.sample(n, generator=noise(1))[:, 1].mean()) > 0.2


@pytest.mark.parametrize("kept", [[False, False, True], [True, False, True]])
def test_particles_of_an_ngram_become_exact(kept: list[bool]) -> None:
    model = made("ngram", TEXT, "order=3")
    assert not model.inpainting(torch.tensor([kept])).is_exact
    assert model.inpainting(torch.tensor([[True, True, False]])).is_exact
    check_frequencies(model, [2, 0, 1], kept)


def test_an_ngram_that_is_given_what_comes_first_is_exact() -> None:
    check_frequencies(made("ngram", TEXT, "order=3"), [2, 0, 0], [True, False, False], rounds=3)


def test_symbols_in_turn_are_drawn_given_those_that_come_last() -> None:
    """Given latents too the symbols of a text depend on each other."""
    model = made("vae", TEXT, "latent_dims=2", scale=0.6, only=("decoder",))
    every = torch.tensor([[a, b, 1] for a in range(4) for b in range(4)])
    z, kept = torch.tensor([[0.5, -1.0]]), torch.tensor([False, False, True]).expand(N, 3)
    each = model.decoding.log_prob(model.decoder, z.expand(16, -1), every)
    expected, blind = each.sum(1).double().softmax(0), each[:, :2].sum(1).double().softmax(0)
    x, chance = torch.tensor([0, 0, 1]).expand(N, 3), noise()
    for _ in range(25):
        x = model.redraw(z.expand(N, -1), x, kept, chance)
    share = torch.bincount(x[:, 0] * 4 + x[:, 1], minlength=16) / N
    within = 4.5 * (expected * (1 - expected) / N).sqrt() + 2e-3
    assert ((share - expected).abs() < within).all(), (share, expected)
    assert not ((blind - expected).abs() < within).all()


@pytest.mark.parametrize("covariance", ["diagonal", "low_rank", "full"])
@pytest.mark.parametrize("spec", [PLANE, SERIES], ids=["vector", "series"])
def test_a_mixture_of_normals_is_exact(covariance: str, spec: DataSpec) -> None:
    """Mean and spread of one value given the others, against a sum over a fine grid of the density."""
    case = Case("gmm", spec, ["components=3", "rank=1", f"covariance={covariance}", "em_steps=20"])
    model = make_model(case).eval()
    given = torch.full(spec.shape, 0.7)
    kept = torch.ones(spec.shape, dtype=torch.bool)
    kept.view(-1)[1] = False
    grid = torch.linspace(-8, 8, 4001)
    every = given.repeat(len(grid), *[1] * len(spec.shape))
    every.flatten(1)[:, 1] = grid
    weight = model.log_prob(every).double().softmax(0)
    mean = (weight * grid).sum()
    deviation = (weight * (grid - mean).square()).sum().sqrt()
    filled = model.inpaint(given.expand(N, *spec.shape), kept, generator=noise())
    values = filled.flatten(1)[:, 1].double()
    assert torch.equal(filled[:, kept], given.expand(N, *spec.shape)[:, kept])
    assert abs(values.mean() - mean) < 4.5 * deviation / math.sqrt(N)
    assert values.std() == pytest.approx(deviation.item(), rel=0.06)
    assert abs(mean - model.sample(N, generator=noise(1)).flatten(1)[:, 1].mean()) > 0.2


@pytest.mark.parametrize(
    ("model", "more", "scale", "place", "n", "draws"),
    [
        ("gmm", [], 0.25, 1, N, 1),
        ("made", [], 0.25, 1, N, 1),
        # Of two categories: of three, a flow draws one by two codes, of which its bound counts one.
        ("flow", ["table.dequantization=uniform"], 0.1, 3, 300, 500),
    ],
)
def test_a_category_of_a_table_given_the_other_columns(
    model: str, more: list[str], scale: float, place: int, n: int, draws: int
) -> None:
    found, levels = made(model, TABLE, *more, scale=scale), TABLE.fields[place].levels or 0
    row = make_batch(TABLE, 1, seed=5).x
    every = row.repeat(levels, 1)
    every[:, place] = torch.arange(levels)
    expected = found.log_prob(every, num_draws=draws, generator=noise(9)).double().softmax(0)
    kept = torch.arange(4) != place
    filled = found.inpaint(row.expand(n, -1), kept, generator=noise(), rounds=12)
    share = torch.bincount(filled[:, place].long(), minlength=levels) / n
    assert ((share - expected).abs() < 4.5 * (expected * (1 - expected) / n).sqrt() + 2e-3).all(), (share, expected)
    assert expected.max() < 0.98


@pytest.mark.parametrize("case", INPAINTING[::2], ids=lambda case: case.id)
def test_given_values_never_change_and_noise_belongs_to_the_example(case: Case) -> None:
    if case.spec.num_dims > 100:
        pytest.skip("as the smaller ones")
    model, batch = make_model(case).eval(), make_batch(case.spec, 3, seed=2)
    given = torch.rand(batch.x.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    given = given if batch.mask is None else given & batch.mask
    y = batch.y if model.conditional else None
    filled = model.inpaint(batch.x, given, y, noise(), rounds=1)
    model.codec.check(filled)
    assert torch.equal(filled[given], batch.x[given])
    last = slice(2, 3)
    alone = model.inpaint(batch.x[last], given[last], None if y is None else y[last], ExampleNoise(0, 2), rounds=1)
    assert torch.allclose(alone.double(), filled[last].double(), atol=1e-3)
    assert str(model.inpainting(given)).startswith(("exact: ", "approximate: "))


def correlated(share: float) -> Stepwise:
    """A sampler with the exact denoiser of two normals of variance 1 and this correlation."""
    covariance = torch.tensor([[1, share], [share, 1]])
    sigmas, chance = torch.cat([torch.logspace(1.0, -2, 40), torch.zeros(1)]), noise(77)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        return x @ torch.linalg.inv(covariance + sigma**2 * torch.eye(2)) @ covariance

    start = 10 * torch.randn(N, 2, generator=torch.Generator().manual_seed(0))
    levels = [NoiseLevel(1.0, sigma) for sigma in sigmas.tolist()]
    return Stepwise(start, levels, lambda x, number: ddpm(denoise, x, sigmas[number : number + 2], chance))


def test_resampling_of_a_diffusion_comes_near_to_normals_given_a_part() -> None:
    kept, data = torch.tensor([True, False]), torch.tensor([1.5, 0.0]).expand(N, 2)
    off = {}
    for rounds in (1, 8):
        x = repaint(correlated(0.9), data, kept, rounds, noise(500))
        assert torch.equal(x[:, 0], data[:, 0])
        off[rounds] = abs(x[:, 1].mean().item() - 0.9 * 1.5)
        if rounds == 8:
            assert x[:, 1].std().item() == pytest.approx(math.sqrt(1 - 0.81), rel=0.15)
    assert off[8] < 0.12
    assert off[1] > 3 * off[8]


def test_fresh_noise_keeps_each_level_what_it_is() -> None:
    """With nothing kept, steps that are taken again and again leave a normal a normal, on paths that shrink too."""
    times = torch.linspace(0, 1, 21).tolist()
    levels = [NoiseLevel(t, 1 - t) for t in times]
    start = torch.randn(N, 1, generator=torch.Generator().manual_seed(1))

    def step(x: Tensor, number: int) -> Tensor:
        before, after = (math.hypot(*levels[k]) for k in (number, number + 1))
        return x * after / before  # the exact flow from standard normal noise to standard normal data

    kept = torch.tensor([False])
    x = repaint(Stepwise(start, levels, step), torch.zeros(N, 1), kept, 4, noise())
    assert x.std().item() == pytest.approx(1, abs=0.05)
    assert x.mean().item() == pytest.approx(0, abs=0.08)


def test_candidates_are_chosen_by_their_weights() -> None:
    choice, weights = Choice(), torch.tensor([0.1, 0.6, 0.3])
    for number, weight in enumerate(weights):
        choice.offer(torch.full((N,), number), weight.log().expand(N) + 100, noise(number))
    assert choice.values is not None
    share = torch.bincount(choice.values, minlength=3) / N
    assert ((share - weights).abs() < 4.5 * (weights * (1 - weights) / N).sqrt()).all()


def test_what_comes_first() -> None:
    rows = {(1, 1, 0): True, (0, 0, 0): True, (1, 1, 1): True, (0, 1, 0): False, (1, 0, 1): False}
    assert comes_first(torch.tensor(list(rows)).bool()).tolist() == list(rows.values())


def test_lengths_are_those_that_reach_what_is_kept() -> None:
    spec = DataSpec("s", "waveform", (1, 4), levels=2, has_mask=True)
    lengths = Lengths(spec, 0)
    lengths.counts.copy_(torch.tensor([[0.0, 4, 3, 1, 0]]))
    kept = torch.tensor([False, True, False, False]).expand(N, 1, 4)
    found = lengths.sample(N, None, noise(), kept)[:, 0].sum(1)
    assert (torch.bincount(found, minlength=5) / N - torch.tensor([0, 0, 0.75, 0.25, 0])).abs().max() < 0.03
    last = torch.tensor([False, False, False, True]).expand(5, 1, 4)
    assert lengths.sample(5, None, noise(), last).all()
