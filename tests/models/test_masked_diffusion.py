"""Masked diffusion: a bound that is one, and samples of what was learned."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from genlab.core.batch import Batch
from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec
from genlab.models.masked_diffusion import MaskedDiffusion
from tests.contract.families import SMALL_MASKED_DIFFUSION, TEXT, Case, make_model, perturb

CHAIN = DataSpec("chain", "text", (4,), levels=3)
STEPS = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.1, 0.6]])
"""Probabilities of the next symbol given the last, of a chain that starts uniformly."""


def make(spec: DataSpec, *overrides: str) -> MaskedDiffusion:
    return make_model(Case("masked_diffusion", spec, [*SMALL_MASKED_DIFFUSION, *overrides]))


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def every_string(spec: DataSpec) -> Tensor:
    return torch.tensor(list(itertools.product(range(spec.levels), repeat=spec.num_dims)))


def chain_log_prob(x: Tensor) -> Tensor:
    return STEPS[x[:, :-1], x[:, 1:]].log().sum(1) - torch.tensor(3.0).log()


def mean_bound(model: MaskedDiffusion, x: Tensor, draws: int = 60) -> Tensor:
    with torch.no_grad():
        return torch.stack([model.log_prob(x, generator=noise(seed)) for seed in range(draws)]).mean(0)


def test_the_bound_is_the_mean_over_all_sets_of_masked_places() -> None:
    """The integral over times of the papers, by brute force, with the chance of each set at each time."""
    model = make(CHAIN, "bound_levels=4").eval()
    perturb(model, 0.3)
    x = every_string(CHAIN)[::7]
    times = (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000
    expected = torch.zeros(len(x), dtype=torch.float64)
    with torch.no_grad():
        for places in itertools.product([False, True], repeat=4):
            masked = torch.tensor(places).expand_as(x)
            surprise = torch.nn.functional.cross_entropy(model.network(x, masked).movedim(-1, 1), x, reduction="none")
            count = sum(places)
            weight = (times ** (count - 1) * (1 - times) ** (4 - count)).mean() if count else 0.0
            expected -= weight * (surprise * masked).sum(1).double()
        drawn = torch.stack([model.log_prob(x, generator=noise(seed)) for seed in range(400)])
    error = drawn.std(0) / len(drawn) ** 0.5
    assert float(((drawn.mean(0) - expected).abs() / error).max()) < 4
    assert float(error.max()) < 0.02 * float(expected.abs().mean())


def test_the_probabilities_of_all_strings_sum_to_less_than_one() -> None:
    model = make(CHAIN, "bound_levels=4").eval()
    perturb(model, 0.5)
    assert mean_bound(model, every_string(CHAIN)).exp().sum() < 1


def test_a_small_chain_is_learned_to_its_entropy() -> None:
    model = make(CHAIN, "hidden=32", "bound_levels=4", "steps=32")
    x = every_string(CHAIN)
    exact = chain_log_prob(x)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    torch.manual_seed(0)
    for _ in range(300):
        rows = torch.multinomial(exact.exp(), 256, replacement=True)
        loss = model.loss(Batch(x[rows]))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    entropy = float(-(exact.exp() * exact).sum())
    bound = float(-(exact.exp() * mean_bound(model, x)).sum())
    assert entropy < bound < 1.02 * entropy
    # In as many steps as are not far from one symbol each, the samples are the chain's.
    drawn = model.sample(4000, generator=noise())
    pairs = torch.zeros(3, 3).index_put_((drawn[:, 0], drawn[:, 1]), torch.ones(4000), accumulate=True)
    assert float((pairs / 4000 - STEPS / 3).abs().sum()) / 2 < 0.08  # independent symbols are 0.37 apart from them


def test_what_is_kept_is_kept_and_the_rest_fits_to_all_of_it() -> None:
    model = make(CHAIN).eval()
    x = every_string(CHAIN)
    mask = torch.tensor([True, False, True, False])
    filled = model.inpaint(x, mask, generator=noise())
    assert torch.equal(filled[:, mask], x[:, mask])
    assert not torch.equal(filled, x)


def test_levels_with_an_order_have_another_diffusion() -> None:
    with pytest.raises(GenlabError, match=r"symbols without an order, but tiny is image. Use model=diffusion."):
        make(DataSpec("tiny", "image", (1, 2, 2), levels=2))
    assert MaskedDiffusion.unsupported(TEXT) is None
