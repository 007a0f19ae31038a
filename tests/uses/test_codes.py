"""Codes lead back: exactly where that is claimed, within the solver's error along an ODE, and else as they say."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from genlab.command.targets import locate
from genlab.core.batch import Batch
from genlab.core.contract import Encodes, EncodesInLayers
from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec, Field
from genlab.models import gan
from genlab.uses.catalogue import USES
from genlab.uses.codes import as_examples, decode, deviations, encode, errors_of
from genlab.uses.interpolate import interpolate
from genlab.uses.reconstruct import reconstruct
from genlab.uses.traverse import traverse
from tests.contract.families import CASES, Case, make_batch, make_model, model_config, perturb


@cache
def family_of(model: str) -> type:
    """The class of a model, by the name of its config."""
    return locate(model_config(model)["_target_"])


ENCODING = [case for case in CASES if issubclass(family_of(case.model), Encodes)]
FLOWS = [case for case in ENCODING if case.model == "flow"]
FINE_ODE = ["likelihood_ode.solver=midpoint", "likelihood_ode.steps=50"]
SOME = [
    *(case for case in FLOWS if case.id in ("flow-tiny_gray-conditional=true", "flow-tiny_sound-conditional=true")),
    *(case for case in ENCODING if case.id in ("vae-tiny_text", "vae-tiny_table-components=2", "vae-tiny_sound")),
    *(case for case in ENCODING if case.id in ("hvae-tiny_gray", "iwae-tiny_space-objective.draws=5")),
    *(
        case
        for case in ENCODING
        if case.id in ("diffusion-tiny_plane", "flow_matching-tiny_counts-sampler.solver=heun")
    ),
    *(case for case in ENCODING if case.id in ("gan-tiny_plane-conditional=true", "gan-tiny_gray")),
]
"""One of each kind of code, and of each kind of data."""


@pytest.fixture(autouse=True)
def short_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GAN's search takes fewer steps."""
    monkeypatch.setattr(gan, "_SEARCH_STEPS", 40)
    monkeypatch.setattr(gan, "_STARTS", 16)


def test_one_of_each_is_there() -> None:
    assert len(SOME) == 11


def prepared(case: Case) -> tuple[torch.nn.Module, Batch]:
    model = make_model(case)
    perturb(model)
    return model.eval().requires_grad_(False), make_batch(case.spec, 4, seed=3)


@pytest.mark.parametrize("case", FLOWS, ids=lambda case: case.id)
def test_a_flow_leads_back_to_the_example(case: Case) -> None:
    model, batch = prepared(case)
    found = reconstruct(model, batch)
    assert found.errors["largest"].max() < 1e-4 * (case.spec.levels or 1)
    if case.spec.is_discrete:
        assert torch.equal(found.back, batch.x)


@pytest.mark.parametrize("case", FLOWS, ids=lambda case: case.id)
def test_a_flows_code_is_what_its_density_is_of(case: Case) -> None:
    """Between two codes the log-density of continuous data differs by the normal's and the volume's alone."""
    model, batch = prepared(case)
    z = model.encode(batch.x, batch.y if model.conditional else None, mask=batch.mask)
    assert z.shape[1] >= case.spec.num_dims
    drawn = torch.randn_like(z)
    y = batch.y if model.conditional else None
    values = model.decode(drawn, y)
    assert values.shape == (4, *case.spec.shape)
    if model.likelihood_kind() != "exact" or case.spec.num_dims > 6:  # what is decoded is some place in a cell
        return
    again = model.encode(values, y)
    assert torch.allclose(again, drawn, atol=1e-3)
    one = values[:1].double().float()
    jacobian = torch.func.jacrev(lambda x: model.density.encode(x, model._context(None if y is None else y[:1]))[0])(
        one
    )
    jacobian = jacobian.reshape(z.shape[1], -1).double()
    normal = torch.distributions.Normal(0, 1).log_prob(again[0].double()).sum()
    expected = normal + jacobian.slogdet().logabsdet
    assert model.log_prob(one, None if y is None else y[:1])[0].double() == pytest.approx(expected.item(), abs=1e-3)


@pytest.mark.parametrize(
    "case",
    [
        Case(c.model, c.spec, [*c.overrides, *FINE_ODE])
        for c in ENCODING
        if c.id
        in (
            "diffusion-tiny_plane",
            "diffusion-tiny_wave",
            "flow_matching-tiny_gray",
            "flow_matching-tiny_space-path.sigma_min=0.01-path.width=0.2",
        )
    ],
    ids=lambda case: case.id,
)
def test_an_ode_leads_back_within_its_error(case: Case) -> None:
    model, batch = prepared(case)
    found = reconstruct(model, batch)
    assert found.errors["largest"].max() < 0.01 * (case.spec.levels or 1) / 2
    assert found.kind.startswith("the model's ODE (midpoint, 50 steps)")


def test_a_diffusions_code_is_the_noise_of_its_likelihood() -> None:
    """A model that knows nothing but N(0, 1) data has codes that are the data, but for the last noise level."""
    spec = DataSpec("plain", "vector", (2,))
    case = Case("diffusion", spec, [*next(c for c in CASES if c.id.startswith("diffusion-tiny_plane")).overrides])
    model = make_model(case).eval()
    model.scaling.fit(torch.randn(50_000, 2, generator=torch.Generator().manual_seed(0)), model.deviation)
    # The network's last layer is zero at the start; the skip connection alone is the best denoiser of such data.
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(model.encode(x), x, atol=0.05)
    assert torch.allclose(model.decode(model.encode(x)), x, atol=1e-3)


@pytest.mark.parametrize("case", [c for c in ENCODING if c.id in ("gan-tiny_gray", "gan-tiny_sound-conditional=true")])
def test_a_gans_search_finds_better_than_where_it_begins(case: Case) -> None:
    model, batch = prepared(case)
    y = batch.y if model.conditional else None
    found = reconstruct(model, batch).errors["rmse"]
    starts = model._noise(gan._STARTS, torch.Generator().manual_seed(0))
    begun = torch.stack(
        [errors_of(batch, model.decode(z.expand(4, -1), y, mask=batch.mask), case.spec)["rmse"] for z in starts]
    ).amin(0)
    assert (found <= begun + 1e-6).all()
    assert found.mean() < 0.99 * begun.mean()


def test_a_gans_search_finds_what_the_generator_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gan, "_SEARCH_STEPS", 300)
    model, _ = prepared(next(c for c in ENCODING if c.id == "gan-tiny_space"))
    made = model.decode(torch.randn(4, model.latent_dims, generator=torch.Generator().manual_seed(5)))
    found = reconstruct(model, Batch(made))
    assert found.errors["largest"].max() < 1e-3
    assert found.kind == "searched for: the best of 16 draws, then 300 steps of Adam down the squared error"


@pytest.mark.parametrize("case", SOME, ids=lambda case: case.id)
def test_a_code_does_not_depend_on_the_batch(case: Case) -> None:
    model, batch = prepared(case)
    all_of_them, second = encode(model, batch), encode(model, batch.rows(slice(1, 2)))
    assert torch.allclose(all_of_them[1:2], second, atol=1e-3)


@pytest.mark.parametrize("case", SOME, ids=lambda case: case.id)
def test_the_ends_of_a_way_are_the_reconstructions(case: Case) -> None:
    model, batch = prepared(case)
    ends = batch.rows(slice(0, 2))
    for path in ("linear", "spherical"):
        found = interpolate(model, ends, 3, path)
        values = decode(model, encode(model, ends), ends)
        back = as_examples(values, case.spec, ends.mask)
        there = torch.tensor(True) if ends.mask is None else ends.mask
        assert (found.values[[0, -1]] - values).where(there, 0).abs().max() < 1e-4 * (case.spec.levels or 1)
        assert torch.equal(found.x[[0, -1]], back) or not case.spec.is_discrete
        assert found.x.dtype == batch.x.dtype


def test_layers_from_the_top_lead_to_all() -> None:
    for case in (c for c in ENCODING if c.model == "hvae"):
        model, batch = prepared(case)
        assert isinstance(model, EncodesInLayers)
        z = model.encode(batch.x)
        count = model.num_layers()
        assert torch.equal(model.decode_upper(z, count), model.decode(z))
        other = z.clone()
        other[:, sum(model.sizes[:1]) :] += 1  # nothing below the top layer is read
        assert torch.equal(model.decode_upper(z, 1), model.decode_upper(other, 1))
        assert not torch.equal(model.decode_upper(z, 1), model.decode(z))
        assert list(reconstruct(model, batch).upper) == list(range(1, count))


@pytest.mark.parametrize("use", [use for use in USES.values() if use.needs is Encodes], ids=lambda use: use.name)
@pytest.mark.parametrize("model", ["gmm", "ngram", "made", "pixelcnn", "transformer", "masked_diffusion"])
def test_a_family_that_cannot_says_so(use: object, model: str) -> None:
    case = next(c for c in CASES if c.model == model)
    made, batch = make_model(case).eval(), make_batch(case.spec, 2)
    call = {
        "reconstruct": lambda: reconstruct(made, batch),
        "interpolate": lambda: interpolate(made, batch, 3),
        "traverse": lambda: traverse(made, batch.rows(slice(1)), batch, 1, 3, 1.0),
    }[use.name]
    with pytest.raises(GenlabError, match=f"family cannot {use.name}: it has no code") as refused:
        call()
    assert len(str(refused.value).splitlines()) == 1


def test_errors_are_what_they_say() -> None:
    spec = DataSpec("s", "waveform", (1, 4), levels=4, has_mask=True)
    mask = torch.tensor([[[True, True, True, False]]])
    batch = Batch(torch.tensor([[[0, 1, 3, 0]]]), None, mask)
    found = errors_of(batch, torch.tensor([[[0.0, 3.0, 2.0, 99.0]]]), spec)
    assert found["rmse"].item() == pytest.approx(((0 + 4 + 1) / 3) ** 0.5)
    assert found["largest"].item() == 2
    text = DataSpec("t", "text", (4,), levels=4)
    found = errors_of(Batch(torch.tensor([[0, 1, 2, 3]])), torch.tensor([[0, 1, 2, 0]]), text)
    assert {name: error.tolist() for name, error in found.items()} == {"wrong_share": [0.25]}
    table = DataSpec("r", "table", (3,), fields=(Field("a"), Field("k", levels=3), Field("b")))
    x = torch.tensor([[0.0, 1.0, 10.0], [2.0, 2.0, 30.0]])
    found = errors_of(Batch(x), x + torch.tensor([1.0, 0.0, 10.0]), table, deviations(x, table))
    assert torch.allclose(found["rmse"], torch.ones(2, dtype=torch.float64))
    assert torch.equal(found["wrong_share"], torch.zeros(2, dtype=torch.float64))
    assert errors_of(Batch(x), x.flip(0), table, deviations(x, table))["wrong_share"].tolist() == [1, 1]


def test_decoded_values_become_examples() -> None:
    spec = DataSpec("d", "image", (1, 1, 4), levels=17)
    values = torch.tensor([[[[-0.49, 3.49, 3.51, 19.0]]]])
    assert as_examples(values, spec).tolist() == [[[[0, 3, 4, 16]]]]
    assert as_examples(values, spec).dtype == torch.uint8
