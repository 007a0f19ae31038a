"""What enters a model: data that it was not made for gets one clear line from every family, never a figure."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from genlab.core.batch import Batch
from genlab.core.contract import Encodes, Inpaints
from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec, Field
from genlab.models.base import GenerativeModel
from tests.contract.families import (
    COUNTS,
    GRAY,
    PLANE,
    SMALL_DIFFUSION,
    SMALL_FLOW,
    SMALL_FLOW_MATCHING,
    SMALL_FOREST,
    SMALL_GAN,
    SMALL_GMM,
    SMALL_HVAE,
    SMALL_PIXELCNN,
    SMALL_PIXELRNN,
    SMALL_TRANSFORMER,
    SMALL_VAE,
    TABLE,
    TEXT,
    Case,
    make_batch,
    make_model,
)

FAMILIES = {
    "flow": SMALL_FLOW,
    "gmm": SMALL_GMM,
    "forest": SMALL_FOREST,
    "ngram": [],
    "vae": SMALL_VAE,
    "hvae": SMALL_HVAE,
    "made": ["hidden=64"],
    "pixelcnn": SMALL_PIXELCNN,
    "pixelrnn": SMALL_PIXELRNN,
    "transformer": SMALL_TRANSFORMER,
    "gan": SMALL_GAN,
    "diffusion": SMALL_DIFFUSION,
    "flow_matching": SMALL_FLOW_MATCHING,
}
CONDITIONAL = ["flow", "made", "pixelcnn", "pixelrnn", "transformer", "gan", "diffusion", "flow_matching"]

CASES = [Case(name, GRAY, small) for name, small in FAMILIES.items() if name not in ("forest", "ngram")]
CASES += [Case(name, PLANE, FAMILIES[name]) for name in FAMILIES if not name.startswith(("pixel", "ngram"))]
CASES += [Case(name, COUNTS, FAMILIES[name]) for name in ("flow", "gmm", "vae", "diffusion")]
CASES += [Case(name, TEXT, FAMILIES[name]) for name in ("gmm", "made", "ngram", "transformer", "vae")]
TABLE_FAMILIES = ("diffusion", "flow", "flow_matching", "forest", "gan", "gmm", "made", "transformer", "vae")
CASES += [Case(name, TABLE, FAMILIES[name]) for name in TABLE_FAMILIES]

MODELS = {case.id: make_model(case).eval() for case in CASES}
"""One of each; nothing here changes them."""


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> GenerativeModel:
    return MODELS[request.param]


def entrances(model: GenerativeModel) -> dict[str, Callable[[Tensor, Tensor | None], object]]:
    """All ways by which data enters a model, of ``x`` and ``y``."""
    found: dict[str, Callable[[Tensor, Tensor | None], object]] = {}

    def debugged_loss(x: Tensor, y: Tensor | None) -> object:
        with torch.autograd.set_detect_anomaly(True):
            return model.loss(Batch(x, y))

    found["loss"] = debugged_loss
    if model.has_likelihood:
        found["log_prob"] = model.log_prob
    if isinstance(model, Encodes):
        found["encode"] = model.encode
    if isinstance(model, Inpaints):
        keep_all = torch.ones(1, dtype=torch.bool)
        found["inpaint"] = lambda x, y: model.inpaint(x, keep_all, y, torch.Generator().manual_seed(0), rounds=1)
    return found


def refused(model: GenerativeModel, x: Tensor, y: Tensor | None, *words: str) -> None:
    for name, enter in entrances(model).items():
        with pytest.raises(GenlabError) as error:
            enter(x, y)
        message = str(error.value)
        assert "\n" not in message, name
        assert all(word in message for word in words), f"{name}: {message}"


def test_what_fits_enters(model: GenerativeModel) -> None:
    """Else all the refusals below would prove nothing."""
    batch = make_batch(model.spec, 4)
    assert entrances(model)
    for enter in entrances(model).values():
        enter(batch.x, batch.y)


def test_another_shape_is_refused(model: GenerativeModel) -> None:
    spec = model.spec
    x = make_batch(DataSpec("larger", spec.modality, (*spec.shape[:-1], 28), levels=spec.levels), 4).x
    refused(model, x, make_batch(spec, 4).y, "x has shape [N,", f"({spec.name})")
    refused(model, x[0], make_batch(spec, 4).y, "x has shape [")


def test_another_dtype_is_refused(model: GenerativeModel) -> None:
    """Levels divided by their number are the mistake that gives the most plausible figures."""
    batch, levels = make_batch(model.spec, 4), model.spec.levels
    if levels is None:
        refused(model, batch.x.long(), batch.y, "x is int64, expected continuous values")
    else:
        refused(model, batch.x.float() / levels, batch.y, f"x is float32, expected whole numbers 0 to {levels - 1}")


def test_values_out_of_range_are_refused(model: GenerativeModel) -> None:
    batch, levels = make_batch(model.spec, 4), model.spec.levels
    wrong = [-3, 200] if levels else [torch.nan, torch.inf]
    for value in wrong:
        x = (batch.x.int() if levels else batch.x).clone()
        x.view(-1)[3] = value
        refused(model, x, batch.y, f"{value}" if levels else "not finite, in 1 of 4 examples", model.spec.name)


@pytest.mark.parametrize("model", [name for name, made in MODELS.items() if made.spec.num_classes], indirect=True)
def test_labels_that_do_not_exist_are_refused(model: GenerativeModel) -> None:
    classes, x = model.spec.num_classes or 0, make_batch(model.spec, 4).x
    for name in entrances(model):
        if name == "inpaint":  # an unconditional model is given none to draw with
            continue
        for y in (torch.tensor([0, 0, 0, classes]), torch.tensor([0, -1, 0, 0])):
            with pytest.raises(GenlabError, match=rf"whole numbers 0 to {classes - 1} \(int64\), the classes of"):
                entrances(model)[name](x, y)
        with pytest.raises(GenlabError, match=r"y has shape \[3\], expected \[4\]"):
            entrances(model)[name](x, torch.zeros(3, dtype=torch.int64))


@pytest.mark.parametrize("name", CONDITIONAL)
def test_a_conditional_model_wants_labels_and_right_ones(name: str) -> None:
    model, x = make_model(Case(name, GRAY, [*FAMILIES[name], "conditional=true"])).eval(), make_batch(GRAY, 4).x
    with pytest.raises(GenlabError, match="give the labels y"):
        model.loss(Batch(x))
    if model.has_likelihood:
        with pytest.raises(GenlabError, match="give the labels y"):
            model.log_prob(x)
    with pytest.raises(GenlabError, match="give the labels y"):
        model.training_step(Batch(x), 0)
    wrong = torch.full((4,), 3)
    with pytest.raises(GenlabError, match=r"expected whole numbers 0 to 2 \(int64\), the classes of tiny_gray"):
        model.sample(4, wrong)
    if isinstance(model, Inpaints):
        with pytest.raises(GenlabError, match="expected whole numbers 0 to 2"):
            model.inpaint(x, torch.ones(1, dtype=torch.bool), wrong, rounds=1)


def test_a_training_step_reads_no_value_back(model: GenerativeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a loss that is looked at for anomalies may wait for the device."""
    batch = make_batch(model.spec, 4)
    checked: list[Tensor] = []
    monkeypatch.setattr(type(model.codec), "check", lambda codec, x: checked.append(x))
    monkeypatch.setattr(type(model.codec), "check_labels", lambda codec, y, n: checked.append(y))
    model.loss(batch)
    assert not checked
    with torch.autograd.set_detect_anomaly(True):
        model.loss(batch)
    assert checked


@pytest.mark.parametrize("case", [c for c in CASES if isinstance(MODELS[c.id], Encodes)], ids=lambda case: case.id)
def test_latents_of_another_length_are_refused(case: Case) -> None:
    model = MODELS[case.id]
    assert isinstance(model, Encodes)
    z = model.encode(make_batch(case.spec, 4).x)
    assert model.decode(z).shape == (4, *case.spec.shape)
    for wrong in (z[:, 1:], z[0]):
        with pytest.raises(GenlabError, match=rf"z has shape \[.*\], expected \[N, {z.shape[1]}\], the latents"):
            model.decode(wrong)


@pytest.mark.parametrize("case", [c for c in CASES if isinstance(MODELS[c.id], Inpaints)], ids=lambda case: case.id)
def test_what_is_to_be_filled_in_may_be_anything(case: Case) -> None:
    model, x = MODELS[case.id], make_batch(case.spec, 4).x
    assert isinstance(model, Inpaints)
    kept = torch.ones(case.spec.shape, dtype=torch.bool)
    kept.view(-1)[-1] = False
    x.flatten(1)[:, -1] = 99 if case.spec.is_discrete else torch.nan
    filled = model.inpaint(x, kept, generator=torch.Generator().manual_seed(0), rounds=1)
    model.codec.check(filled)
    assert torch.equal(filled[:, kept], x[:, kept])
    with pytest.raises(GenlabError, match=r"mask has shape \[7, 9\], expected one that broadcasts"):
        model.inpaint(x, torch.ones(7, 9, dtype=torch.bool))


@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in ("forest", "ngram")])
@pytest.mark.parametrize(
    ("needs", "words"),
    [
        ({"has_mask": True}, "cannot leave out what is masked, which speech needs"),
        ({"context_shape": (3,)}, "cannot be given covariates, which speech needs"),
        (
            {"fields": (Field("colour", 3), *(Field(f"x{i}") for i in range(15)))},
            "cannot model categories beside continuous values, which speech needs",
        ),
    ],
    ids=["mask", "context", "fields"],
)
def test_a_family_refuses_what_it_cannot_use(name: str, needs: dict[str, object], words: str) -> None:
    family = type(MODELS[Case(name, GRAY, FAMILIES[name]).id])
    spec = DataSpec("speech", "image", (1, 4, 4), levels=17, **needs)
    if spec.needs <= family.uses:
        assert family.unsupported(spec) is None
        return
    with pytest.raises(GenlabError) as error:
        make_model(Case(name, spec, FAMILIES[name]))
    assert str(error.value).startswith(f"The {family.called or family.family} family {words}. Use data ")

    class Able(family):  # type: ignore[valid-type, misc]
        uses = frozenset({"mask", "context", "fields"})

    assert Able.unsupported(spec) is None


def test_columns_that_are_all_continuous_are_no_trouble() -> None:
    assert DataSpec("power", "vector", (2,), fields=(Field("a"), Field("b"))).needs == frozenset()


@pytest.mark.parametrize("case", [c for c in CASES if c.spec == PLANE], ids=lambda case: case.id)
def test_one_example_alone_starts_a_model(case: Case) -> None:
    """Its standard deviation is not defined, and once was nan in every later figure."""
    model, batch = make_model(case), make_batch(case.spec, 1)
    model.initialize(batch)
    assert all(value.isfinite().all() for value in model.state_dict().values())
    assert model.loss(batch)["loss"].isfinite()
    with torch.no_grad():
        assert model.sample(3).isfinite().all()


def test_a_batch_that_brings_what_cannot_be_used_is_refused(model: GenerativeModel) -> None:
    x, y, *_ = make_batch(model.spec, 4)
    name = model.called or model.family
    if "mask" not in model.uses:
        with pytest.raises(GenlabError, match=f"The {name} family cannot leave out what is masked"):
            model.loss(Batch(x, y, mask=torch.ones_like(x, dtype=torch.bool)))
    with pytest.raises(GenlabError, match=f"The {name} family cannot be given covariates"):
        model.loss(Batch(x, y, context=torch.zeros(4, 2)))
