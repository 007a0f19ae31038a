"""Autoregressive models: exact probabilities, cached sampling, labels, filling in."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from genlab.core.batch import Batch
from genlab.core.contract import Inpaints
from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec
from genlab.models.autoregressive import Autoregressive
from tests.contract.families import Case, make_batch, make_model, perturb

IMAGE = DataSpec("image", "image", (1, 6, 5), levels=17, num_classes=3)
COLOUR = DataSpec("colour", "image", (3, 4, 4), levels=256)
TEXT = DataSpec("text", "text", (3,), levels=4, num_classes=2)
PLANE = DataSpec("plane", "vector", (2,))
SMALL = {
    "made": ["hidden=64"],
    "pixelcnn": ["hidden=8", "dilations=[1,2]"],
    "pixelrnn": ["hidden=8", "layers=2"],
    "transformer": ["hidden=16", "layers=2", "heads=2"],
}
NOT_IMAGES = ["made", "transformer"]


def make(model: str, spec: DataSpec, *overrides: str) -> Autoregressive:
    made = make_model(Case(model, spec, [*SMALL[model], *overrides]))
    perturb(made, 0.2)
    assert isinstance(made, Autoregressive)
    return made.eval()


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("observation", ["categorical", "logistic_mixture"])
@pytest.mark.parametrize("model", NOT_IMAGES)
def test_the_probabilities_of_all_short_strings_sum_to_one(model: str, observation: str) -> None:
    strings = torch.tensor(list(itertools.product(range(4), repeat=3)))
    made = make(model, TEXT, "conditional=true", f"observation={observation}")
    for label in range(2):
        total = made.log_prob(strings, torch.full((64,), label)).double().exp().sum().item()
        assert total == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("model", SMALL)
@pytest.mark.parametrize("observation", ["bernoulli", "categorical", "logistic_mixture"])
def test_the_probabilities_of_all_small_colour_images_sum_to_one(model: str, observation: str) -> None:
    """Two pixels of three binary channels: the channels of a pixel depend on each other."""
    spec = DataSpec("tiny", "image", (3, 1, 2), levels=2)
    images = torch.tensor(list(itertools.product([0, 1], repeat=6)), dtype=torch.uint8).view(64, 3, 1, 2)
    made = make(model, spec, f"observation={observation}")
    assert made.log_prob(images).double().exp().sum().item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(("model", "spec"), [(m, s) for m in SMALL for s in (IMAGE, COLOUR)])
def test_cached_and_naive_sampling_agree(model: str, spec: DataSpec) -> None:
    made = make(model, spec)
    naive = made.draw(made.network.naive_steps(5), noise())
    assert torch.equal(made.sample(5, generator=noise()), naive)
    assert len(naive.unique()) > 5


@pytest.mark.parametrize("model", SMALL)
def test_samples_occur_as_often_as_their_probability_says(model: str) -> None:
    spec = DataSpec("tiny", "image", (1, 2, 2), levels=2)
    made, n = make(model, spec), 20_000
    images = torch.tensor(list(itertools.product([0, 1], repeat=4)), dtype=torch.uint8).view(16, 1, 2, 2)
    expected = made.log_prob(images).exp()
    powers = torch.tensor([8, 4, 2, 1])
    counts = torch.bincount((made.sample(n, generator=noise()).flatten(1) * powers).sum(1), minlength=16) / n
    assert ((counts - expected).abs() < 5 * (expected * (1 - expected) / n).sqrt() + 1e-4).all()


@pytest.mark.parametrize("model", SMALL)
def test_labels_change_probabilities_and_samples(model: str) -> None:
    made, batch = make(model, IMAGE, "conditional=true"), make_batch(IMAGE, 4)
    zeros, ones = torch.zeros(4, dtype=torch.int64), torch.ones(4, dtype=torch.int64)
    assert (made.log_prob(batch.x, zeros) != made.log_prob(batch.x, ones)).all()
    assert not torch.equal(made.sample(4, zeros, noise()), made.sample(4, ones, noise()))
    assert made.sample(4, generator=noise()).shape == (4, *IMAGE.shape)
    assert "class-conditional" in made.variant
    with pytest.raises(GenlabError, match="give the labels y"):
        made.log_prob(batch.x)
    with pytest.raises(GenlabError, match="colour has none"):
        make(model, COLOUR, "conditional=true")


@pytest.mark.parametrize("model", SMALL)
def test_inpainting_keeps_what_is_given(model: str) -> None:
    made, x = make(model, IMAGE), make_batch(IMAGE, 4).x
    assert isinstance(made, Inpaints)
    mask = torch.rand(6, 5, generator=noise()) < 0.5
    filled = made.inpaint(x, mask, generator=noise(), rounds=1)
    assert filled.dtype == x.dtype
    assert torch.equal(filled[..., mask], x[..., mask])
    assert torch.equal(
        made.inpaint(x, torch.zeros(1, dtype=torch.bool), generator=noise()), made.sample(4, None, noise())
    )
    assert torch.equal(made.inpaint(x, torch.ones(1, dtype=torch.bool), generator=noise()), x)
    with pytest.raises(GenlabError, match=r"expected torch\.bool"):
        made.inpaint(x, mask.float())


@pytest.mark.parametrize("model", SMALL)
def test_inpainting_draws_the_rest_given_the_start(model: str) -> None:
    """Frequencies of the last two pixels given the first two, against the model's own probabilities."""
    spec = DataSpec("tiny", "image", (1, 2, 2), levels=2)
    made, n = make(model, spec), 20_000
    start = torch.tensor([1, 0, 0, 0], dtype=torch.uint8).view(1, 1, 2, 2)
    ends = torch.tensor([[1, 0, a, b] for a in (0, 1) for b in (0, 1)], dtype=torch.uint8).view(4, 1, 2, 2)
    expected = made.log_prob(ends).softmax(0)
    filled = made.inpaint(start.expand(n, -1, -1, -1), torch.tensor([[True, True], [False, False]]), generator=noise())
    assert (filled[:, 0, 0] == torch.tensor([1, 0])).all()
    counts = torch.bincount((filled[:, 0, 1] * torch.tensor([2, 1])).sum(1), minlength=4) / n
    assert ((counts - expected).abs() < 5 * (expected * (1 - expected) / n).sqrt() + 1e-4).all()


def test_a_continuous_log_prob_is_the_chain_of_gaussians() -> None:
    """Against densities written out by hand from the parameters that the steps yield."""
    made, x = make("made", PLANE), torch.tensor([[0.3, -1.2]])
    steps = made.network.steps(1)
    with torch.no_grad():
        z = made.scaling(x)
        params = [next(steps), steps.send(z[:, 0])]
    expected = float(made.scaling.scale.log().sum())
    assert expected != 0, "the data is standardized"
    for value, (mean, raw) in zip(z[0].tolist(), (p[0].tolist() for p in params), strict=True):
        log_scale = -7 + math.log1p(math.exp(raw + 7))
        expected -= 0.5 * ((value - mean) / math.exp(log_scale)) ** 2 + log_scale + 0.5 * math.log(2 * math.pi)
    assert made.log_prob(x).item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("model", SMALL)
def test_log_prob_is_float32_under_autocast_and_sampling_is_unchanged(model: str) -> None:
    made, batch = make(model, IMAGE), make_batch(IMAGE, 3)
    plain, samples = made.log_prob(batch.x), made.sample(2, generator=noise())
    with torch.autocast("cpu", torch.bfloat16):
        rough = made.log_prob(batch.x)
        assert torch.equal(made.sample(2, generator=noise()), samples)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, plain, rtol=0.05, atol=0.5)


@pytest.mark.parametrize("model", SMALL)
def test_a_sample_costs_an_evaluation_for_each_site(model: str) -> None:
    assert make(model, IMAGE).nfe == 30
    assert make(model, COLOUR).nfe == (48 if model == "made" else 16)


@pytest.mark.parametrize("model", NOT_IMAGES)
def test_the_symbols_of_a_text_are_categories(model: str) -> None:
    spec = DataSpec("bytes", "text", (4,), levels=256)
    assert make(model, spec).observation.name == "categorical"


@pytest.mark.parametrize("model", ["pixelcnn", "pixelrnn"])
def test_a_model_of_pixels_refuses_what_is_no_image(model: str) -> None:
    with pytest.raises(GenlabError, match=r"models image data, but plane is vector\. Use model=made"):
        make(model, PLANE)


@pytest.mark.parametrize(
    ("model", "change"),
    [
        ("made", "hidden=65"),
        ("made", "blocks=2"),
        ("made", "direct=false"),
        ("made", "observation=logistic_mixture"),
        ("made", "conditional=true"),
        ("pixelcnn", "hidden=9"),
        ("pixelcnn", "dilations=[1]"),
        ("pixelrnn", "hidden=9"),
        ("pixelrnn", "layers=1"),
        ("transformer", "hidden=18"),
        ("transformer", "layers=1"),
        ("transformer", "heads=1"),
    ],
)
def test_every_size_changes_the_log_prob(model: str, change: str) -> None:
    batch = make_batch(IMAGE, 2)
    assert (make(model, IMAGE).log_prob(batch.x) != make(model, IMAGE, change).log_prob(batch.x, batch.y)).any()


def test_components_change_the_mixture() -> None:
    made = [make("pixelcnn", COLOUR, f"components={count}").observation.num_params for count in (3, 5)]
    assert made == [9, 15]


def test_continuous_data_may_have_any_unit() -> None:
    """The same data in other units has the same density but for the unit, and samples in that unit."""
    spec = DataSpec("prices", "series", (2, 3))
    unit, zero = torch.tensor([[1e4], [1e-2]]), torch.tensor([[5e4], [-1.0]])
    x = torch.randn(64, 2, 3, generator=torch.Generator().manual_seed(0))
    scores, drawn = [], []
    for scale, shift in ((torch.ones(2, 1), torch.zeros(2, 1)), (unit, zero)):
        made = make("transformer", spec)
        made.initialize(Batch(scale * x + shift))
        scores.append(made.log_prob(scale * x[:5] + shift) + 3 * scale.log().sum())
        drawn.append((made.sample(4, generator=torch.Generator().manual_seed(1)) - shift) / scale)
    assert torch.allclose(*scores, atol=1e-2)
    assert torch.allclose(*drawn, atol=1e-2)


def test_kept_values_of_continuous_data_are_those_that_were_given() -> None:
    made = make("made", PLANE)
    x = 1e3 * torch.randn(20, 2)
    made.initialize(Batch(x))
    filled = made.inpaint(x, torch.tensor([True, False]))
    assert torch.equal(filled[:, 0], x[:, 0])
    assert not torch.equal(filled[:, 1], x[:, 1])


def test_a_state_from_before_data_was_standardized_is_one_of_data_as_it_is() -> None:
    old = {name: value for name, value in make("made", PLANE).state_dict().items() if not name.startswith("scaling")}
    made = make("made", PLANE)
    made.load_state_dict(old)
    assert made.scaling.scale.tolist() == [1, 1]
    assert made.scaling.shift.tolist() == [0, 0]


RETURNS = DataSpec("returns", "series", (1, 3))


def test_a_value_far_away_does_not_blow_up_the_scales_of_a_perceptron() -> None:
    """What follows a value of 20 deviations is predicted as if it had been one of asinh(20), near 3.7."""
    made, raw = make("made", RETURNS).network, make("made", RETURNS).network
    raw.load_state_dict(made.state_dict())
    raw.bend.zero_()
    far, near = torch.tensor([[[[20.0, 0, 0]]], [[[math.asinh(20), 0, 0]]]])
    assert torch.allclose(made(far), raw(near), atol=1e-4)
    assert not torch.allclose(made(far), raw(far), atol=0.1)


def test_a_perceptron_from_before_tails_were_tamed_sees_data_as_they_are() -> None:
    old = {name: value for name, value in make("made", RETURNS).state_dict().items() if not name.endswith("bend")}
    made = make("made", RETURNS)
    made.load_state_dict(old)
    assert made.network.bend == 0
