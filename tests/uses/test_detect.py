"""Scores of unusual examples are what they are called, and the figures of how they separate are right."""

from __future__ import annotations

import io
import math
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from genlab.core.batch import Batch
from genlab.core.contract import Denoises
from genlab.core.errors import GenlabError
from genlab.core.noise import ExampleNoise
from genlab.core.spec import DataSpec
from genlab.measure.case import Instruments
from genlab.measure.features.random_network import RandomExtractor
from genlab.models.base import GenerativeModel
from genlab.uses.detect.compression import compressed_bits
from genlab.uses.detect.detect import check_alike, choose_scores, detect, flipped
from genlab.uses.detect.evidence import Evidence, Examples
from genlab.uses.detect.scores import SCORES
from genlab.uses.detect.separation import separate
from tests.contract.families import (
    CASES,
    COLOUR,
    GRAY,
    PLANE,
    SMALL_FLOW,
    SOUND,
    TABLE,
    TEXT,
    Case,
    make_batch,
    make_model,
    perturb,
)

# Figures.


def scores(seed: int, own: int = 40, other: int = 30, ties: bool = True) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.RandomState(seed)
    values = random.normal(size=own), random.normal(0.7, 1.3, size=other)
    return tuple(np.round(part * 2) / 2 if ties else part for part in values)


@pytest.mark.parametrize("ties", [True, False])
def test_figures_are_those_of_scikit_learn(ties: bool) -> None:
    own, other = scores(0, ties=ties)
    truth, values = np.r_[np.zeros(len(own)), np.ones(len(other))], np.r_[own, other]
    found = separate(own, other)
    assert found.auroc == pytest.approx(roc_auc_score(truth, values), abs=1e-12)
    assert found.average_precision == pytest.approx(average_precision_score(truth, values), abs=1e-12)
    alarms, hits, _ = roc_curve(truth, values, drop_intermediate=False)
    assert found.fpr_at_95 == pytest.approx(alarms[hits >= 0.95].min(), abs=1e-12)


def test_auroc_is_the_share_of_pairs_and_its_error_that_of_delong() -> None:
    own, other = scores(1, 12, 9)
    wins = np.array([[(b > a) + 0.5 * (b == a) for a in own] for b in other])
    found = separate(own, other)
    assert found.auroc == pytest.approx(wins.mean(), abs=1e-12)
    variance = wins.mean(1).var(ddof=1) / len(other) + wins.mean(0).var(ddof=1) / len(own)
    assert found.auroc_se == pytest.approx(math.sqrt(variance), abs=1e-12)


def test_standard_errors_are_the_deviations_over_sets() -> None:
    repeats = [separate(*scores(seed, 200, 150, ties=False)) for seed in range(40)]
    # That of a quantile is too large rather than too small where a set is small, as bootstraps of quantiles are.
    for name, tolerance in (("auroc", 0.25), ("average_precision", 0.25), ("fpr_at_95", 0.45)):
        spread = np.std([getattr(one, name) for one in repeats], ddof=1)
        stated = np.mean([getattr(one, f"{name}_se") for one in repeats])
        assert stated == pytest.approx(spread, rel=tolerance), name


def test_infinite_scores_are_the_most_unusual_and_nan_is_refused() -> None:
    assert separate(np.array([1.0, 2.0]), np.array([np.inf, np.inf])).auroc == 1
    with pytest.raises(ValueError, match="no nan"):
        separate(np.array([1.0, np.nan]), np.array([1.0, 2.0]))


# Scores.


def evidence_of(case: Case, background: GenerativeModel | None = None, **options: object) -> Evidence:
    model = make_model(case)
    perturb(model)
    training = make_batch(case.spec, 12, seed=5)
    options = {"examples": 8, "background": background} | options
    return Evidence(model.eval().requires_grad_(False), Examples("training", training, 2), training, **options)


def sets_of(case: Case) -> tuple[Batch, Batch]:
    return make_batch(case.spec, 8, seed=3), make_batch(case.spec, 6, seed=4)


FLOW = Case("flow", GRAY, SMALL_FLOW)


def test_nll_is_exactly_log_prob() -> None:
    evidence = evidence_of(FLOW, draws=3)
    own, other = sets_of(FLOW)
    found = detect(own, other, evidence, ["nll"]).found["nll"]
    for number, (batch, values) in enumerate(((own, found.own), (other, found.other))):
        noise = ExampleNoise(Examples("", batch, number).noise(0), 0)
        expected = -evidence.model.log_prob(batch.x, mask=batch.mask, num_draws=3, generator=noise)
        assert torch.equal(values, expected.double())
    assert found.settings["kind"] == evidence.model.likelihood_kind(3)


def test_scores_from_the_likelihood_are_their_definitions() -> None:
    case = Case("made", GRAY, ["hidden=16"])
    background = make_model(case)
    perturb(background, 2)
    evidence = evidence_of(case, background.eval())
    own, other = sets_of(case)
    found = detect(own, other, evidence, ["nll", "typicality", "likelihood_ratio", "complexity"]).found
    log_p = evidence.model.log_prob(own.x).double()
    mean = -evidence.model.log_prob(evidence.training.batch.x).double().mean()
    assert torch.allclose(found["nll"].own, -log_p)
    assert torch.allclose(found["typicality"].own, (-log_p - mean).abs())
    assert found["typicality"].settings["mean_nll"] == pytest.approx(mean.item())
    assert torch.allclose(found["likelihood_ratio"].own, background.log_prob(own.x).double() - log_p)
    assert found["likelihood_ratio"].settings["background"] == background.name
    assert torch.allclose(found["complexity"].own, -log_p / math.log(2) - compressed_bits(own.x, GRAY))


def test_what_is_fitted_never_sees_the_other_set() -> None:
    case = Case("diffusion", PLANE, ["mlp.hidden=[16]", "likelihood=none"])
    own, other = sets_of(case)
    names = ["denoising"]
    first = detect(own, other, evidence_of(case), names).found["denoising"].own
    second = detect(own, other._replace(x=other.x * 50), evidence_of(case), names).found["denoising"].own
    assert torch.equal(first, second)


def test_a_conditional_model_is_not_told_the_label() -> None:
    case = Case("made", GRAY, ["hidden=16", "conditional=true"])
    evidence = evidence_of(case)
    own, other = sets_of(case)
    found = detect(own, other, evidence, ["nll"]).found["nll"]
    each = [evidence.model.log_prob(own.x, torch.full((8,), label)).double() for label in range(3)]
    assert torch.allclose(found.own, -(torch.stack(each).exp().mean(0).log()))


@pytest.mark.parametrize("spec", [GRAY, COLOUR, TEXT], ids=lambda spec: spec.name)
def test_compressed_bits_are_those_of_files_that_lead_back(spec: DataSpec) -> None:
    batch = make_batch(spec, 5, seed=1)
    bits = compressed_bits(batch.x, spec)
    for x, count in zip(batch.x.numpy().astype(np.uint8), bits.tolist(), strict=True):
        files = {zlib.compress(x.tobytes(), 9): lambda data: np.frombuffer(zlib.decompress(data), np.uint8)}
        if x.ndim == 3:
            content, picture = io.BytesIO(), x[0] if len(x) == 1 else x.transpose(1, 2, 0)
            Image.fromarray(picture).save(content, "PNG", optimize=True)
            assert np.array_equal(np.asarray(Image.open(content)), picture)
            files[content.getvalue()] = np.asarray
        assert count == 8 * min(map(len, files))
    assert compressed_bits(torch.zeros_like(batch.x[:1]), spec) <= bits.min()


def test_only_what_is_there_is_compressed() -> None:
    x, mask = torch.randint(4, (2, 1, 64)), torch.ones(2, 1, 64, dtype=torch.bool)
    mask[1, :, 5:] = False
    spec = DataSpec("sound", "waveform", (1, 64), levels=4, has_mask=True)
    whole, short = compressed_bits(x, spec, mask).tolist()
    assert short < whole
    assert short == compressed_bits(x[1:, :, :5], spec).item()


def test_the_neighbour_is_the_nearest_training_example() -> None:
    case = Case("gan", GRAY, ["conv.channels=8", "conv.max_channels=16"])
    extractor = RandomExtractor(GRAY, make_batch(GRAY, 12, seed=5).x)
    evidence = evidence_of(case, instruments=Instruments(extractor))
    own, other = sets_of(case)
    own.x[0] = evidence.all_training.x[7]
    found = detect(own, other, evidence, ["neighbour"]).found["neighbour"]
    trained, seen = (extractor(x).values.double() for x in (evidence.all_training.x, own.x))
    expected = torch.cdist(seen, trained, compute_mode="donot_use_mm_for_euclid_dist").min(1).values
    assert torch.allclose(found.own, expected, atol=1e-5)
    assert found.own[0] < 1e-5
    assert found.settings["extractor_sha256"] == extractor.sha256


def test_the_neighbour_of_a_row_counts_deviations_and_categories_that_differ() -> None:
    case = Case("gmm", TABLE, ["components=2"])
    evidence = evidence_of(case)
    own, other = sets_of(case)
    found = detect(own, other, evidence, ["neighbour"]).found["neighbour"]
    rows = evidence.all_training.x.double()
    numbers = ((own.x[:, None, [0, 2]] - rows[:, [0, 2]]) / rows[:, [0, 2]].std(0, correction=0)).square().sum(2)
    expected = (numbers + (own.x[:, None, [1, 3]] != rows[:, [1, 3]]).sum(2)).amin(1).sqrt()
    assert torch.allclose(found.own, expected, atol=1e-6)
    assert found.settings["training_examples"] == len(rows)


def test_a_reconstruction_error_is_the_distance_to_what_comes_back() -> None:
    case = Case("vae", GRAY, ["latent_dims=3", "mlp.hidden=[16]", "conv.channels=[8,8]"])
    evidence = evidence_of(case)
    own, other = sets_of(case)
    found = detect(own, other, evidence, ["reconstruction"]).found["reconstruction"].own
    back = evidence.model.decode(evidence.model.encode(own.x))
    assert torch.allclose(found, (back - own.x).double().square().flatten(1).mean(1).sqrt())


@pytest.mark.parametrize("model", ["diffusion", "flow_matching"])
def test_a_denoiser_of_one_point_leads_back_to_it(model: str) -> None:
    """A network that knows the only example denoises it without an error, and any other to it."""
    network = make_model(Case(model, PLANE, ["mlp.hidden=[16]"])).eval()
    x = torch.tensor([[0.3, -0.8], [1.3, 0.2]])
    point, other = network.scaling(x)[0].split(1)
    if model == "diffusion":
        network.denoise = lambda x, sigma, y, mask=None: point.expand_as(x)
    else:  # x = (1 - s t) noise + t point, so the velocity point - s noise is known of x
        s = 1 - network.path.sigma_min
        network.predict = lambda x, t, y, mask=None: point - s * (x - t[:, None] * point) / (1 - s * t[:, None])
    found = network.denoising_errors(x, ratios=[0.1, 1.0, 3.0], generator=ExampleNoise(0))
    assert isinstance(network, Denoises)
    assert found.shape == (2, 3)
    assert torch.allclose(found[0], torch.zeros(3), atol=1e-9)
    expected = ((other - point) / network.deviation).square().mean()
    assert torch.allclose(found[1], expected.expand(3), rtol=1e-3)


def test_noise_belongs_to_the_example() -> None:
    model = make_model(Case("diffusion", PLANE, ["mlp.hidden=[16]"])).eval()
    perturb(model)
    x = make_batch(PLANE, 6, seed=1).x
    whole = model.denoising_errors(x, ratios=[0.5], generator=ExampleNoise(3))
    part = model.denoising_errors(x[4:], ratios=[0.5], generator=ExampleNoise(3, 4))
    assert torch.allclose(whole[4:], part, rtol=1e-5)


@pytest.mark.parametrize("model", ["diffusion", "flow_matching"])
def test_what_is_not_there_enters_no_error(model: str) -> None:
    case = next(c for c in CASES if (c.model, c.spec) == (model, SOUND))
    network, batch = make_model(case).eval(), make_batch(SOUND, 4, seed=2)
    perturb(network)
    given = {"mask": batch.mask, "ratios": [0.3, 1.0]}
    found = network.denoising_errors(batch.x, batch.y, generator=ExampleNoise(0), **given)
    other = network.denoising_errors(batch.x.where(batch.mask, 3), batch.y, generator=ExampleNoise(0), **given)
    assert found.shape == (4, 2)
    assert (found > 0).all()
    assert torch.equal(found, other)
    whole = {"mask": torch.ones_like(batch.mask), "ratios": [0.3]}
    assert not torch.allclose(
        network.denoising_errors(batch.x, batch.y, generator=ExampleNoise(0), **whole), found[:, :1]
    )


# What lacks a score says why.


@pytest.mark.parametrize(
    ("case", "name", "says"),
    [
        (Case("gan", GRAY, ["conv.channels=8", "conv.max_channels=16"]), "nll", "the gan family has no likelihood"),
        (FLOW, "reconstruction", "its codes lead back to any example"),
        (FLOW, "denoising", "it is no denoiser"),
        (FLOW, "likelihood_ratio", "it needs a background model: background=<run>"),
        (FLOW, "neighbour", "nothing extracts features of image data"),
        (Case("flow", PLANE, SMALL_FLOW), "complexity", "bits of continuous data depend"),
        (Case("made", GRAY, ["hidden=16"]), "reconstruction", "it has no code of an example"),
    ],
    ids=lambda part: part.id if isinstance(part, Case) else part[:20],
)
def test_a_score_that_a_model_lacks(case: Case, name: str, says: str) -> None:
    evidence = evidence_of(case)
    with pytest.raises(GenlabError, match=f"has no score {name}: ") as error:
        choose_scores(evidence, [name])
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_scores_that_are_unknown_or_none() -> None:
    with pytest.raises(GenlabError, match=r"scores has 'nil', expected some of nll, .*Did you mean 'nll'"):
        choose_scores(evidence_of(FLOW), ["nil"])
    there, missing = choose_scores(evidence_of(FLOW))
    assert there == ["nll", "typicality", "complexity"]
    assert set(there) | set(missing) == set(SCORES)
    with pytest.raises(GenlabError, match=r"has no score of an example. No nll: the gan family has no likelihood"):
        choose_scores(evidence_of(Case("gan", PLANE), background=None))


def test_a_costly_likelihood_is_of_few_examples() -> None:
    model = make_model(Case("diffusion", GRAY, ["unet.channels=[8]", "unet.attention=[]", "likelihood_images=4"]))
    training = make_batch(GRAY, 4, seed=0)
    evidence = Evidence(model, Examples("training", training, 2), training, examples=5)
    assert "at most 4 images" in (SCORES["nll"].lacks(evidence) or "")


def test_flips_mirror_pictures_and_nothing_else() -> None:
    batch = make_batch(GRAY, 2, seed=0)
    assert torch.equal(flipped(batch, "horizontal_flip", GRAY).x, torch.from_numpy(batch.x.numpy()[..., ::-1].copy()))
    assert torch.equal(flipped(batch, "vertical_flip", GRAY).x, torch.from_numpy(batch.x.numpy()[:, :, ::-1].copy()))
    with pytest.raises(GenlabError, match="mirrors pictures, but tiny_plane is vector"):
        flipped(make_batch(PLANE, 2, seed=0), "vertical_flip", PLANE)


@pytest.mark.parametrize(
    "other",
    [
        DataSpec("a", "image", (1, 4, 5), levels=17),
        DataSpec("a", "image", (1, 4, 4), levels=16),
        DataSpec("a", "image", (1, 4, 4)),
        DataSpec("a", "vector", (1, 4, 4), levels=17),
        DataSpec("a", "image", (1, 4, 4), levels=17, alphabet="a" * 17),
    ],
)
def test_only_data_of_the_same_shape_and_levels_is_scored(other: DataSpec) -> None:
    check_alike(GRAY, DataSpec("b", "image", (1, 4, 4), levels=17))
    with pytest.raises(GenlabError, match=r"against is a, .* expected data like tiny_gray, image of shape"):
        check_alike(GRAY, other)


def test_as_many_values_at_another_rate_are_other_sound() -> None:
    slow, fast = (DataSpec(f"at_{rate}", "waveform", (1, 8), levels=4, sampling_rate_hz=rate) for rate in (8000, 16000))
    with pytest.raises(GenlabError, match=r"4 levels, 16,000 Hz, expected .* 4 levels, 8,000 Hz"):
        check_alike(slow, fast)
