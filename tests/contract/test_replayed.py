"""What a family samples and scores by graphs is what it computes without any, and few graphs serve all batches."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from genlab.core.graphs import WARM_UPS
from genlab.core.noise import ExampleNoise
from genlab.measure.likelihood import measure_likelihood
from genlab.measure.protocol import EvaluationProtocol
from genlab.measure.sampling import draw_samples
from genlab.models.base import GenerativeModel
from genlab.networks.flow.dequantization import VariationalDequantizer
from genlab.networks.flow.rows import RowCells
from tests.contract.families import CASES, Case, labels, make_batch, make_model, perturb
from tests.replaying import recorded_graphs

REPLAYED = [
    "diffusion-tiny_binary-network=mlp-likelihood=vlb",
    "diffusion-tiny_gray-conditional=true-guidance=2",
    "diffusion-tiny_plane-conditional=true",
    "flow_matching-tiny_gray-network=dit-conditional=true",
    "flow-tiny_gray-conditional=true",
    "flow-tiny_counts",
    "flow-tiny_plane-network=maf",
    "flow-tiny_sound",
    "flow-tiny_table",
    "made-tiny_counts",
    "masked_diffusion-tiny_text",
    "transformer-tiny_text",
    "transformer-tiny_sound",
    "transformer-tiny_table",
    "vae-tiny_space-prior.kind=flow",
    "wavenet-tiny_sound",
    "pixelcnn-tiny_binary",
    "pixelrnn-tiny_binary",
]
"""Cases whose evaluation runs as graphs where there are some, by how their names begin."""


@pytest.fixture
def model(case: Case) -> GenerativeModel:
    made = make_model(case)
    perturb(made)
    return made


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.id.startswith(tuple(REPLAYED))],
    ids=lambda case: case.id,
)
@torch.no_grad()
def test_what_is_replayed_is_what_is_computed_plainly(
    model: GenerativeModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    batch, model = make_batch(model.spec, 3), model.eval()

    def evaluated() -> tuple[torch.Tensor, torch.Tensor]:
        source = ExampleNoise(0)
        samples = model.sample(3, generator=source)
        known = {"mask": batch.mask, "num_draws": 2, "generator": source}
        return samples, model.log_prob(batch.x, labels(model, batch), **known)

    expected = evaluated()
    with recorded_graphs(monkeypatch, caplog) as graphs:
        found = evaluated()
    assert graphs
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


KEPT = [
    "flow-tiny_gray-multiscale.coupling=affine",
    "flow-tiny_plane-network=maf",
    "flow-tiny_plane-network=realnvp",
    "flow-tiny_counts",
    "flow-tiny_sound",
    "flow-tiny_table-table",
]
"""Cases of flows, one for each way in which one samples and scores, by how their names begin."""


@pytest.mark.parametrize("case", [case for case in CASES if case.id.startswith(tuple(KEPT))], ids=lambda case: case.id)
def test_flows_are_evaluated_by_graphs_that_serve_all_batches(
    model: GenerativeModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As many graphs for two whole batches and a part as for three, and the figures of no graph."""
    protocol, model = EvaluationProtocol("p", "test", 2, None, 7, 2, 0), model.eval()

    def evaluated(examples: int) -> list[torch.Tensor]:
        few = replace(protocol, num_samples=examples)
        likelihood, drawn = measure_likelihood(model, make_batch(model.spec, examples), few), draw_samples(model, few)
        parts = [likelihood, likelihood.get("one_draw", likelihood)]
        return [torch.tensor([part["nats"] for part in parts]), drawn.samples]

    expected, counts = evaluated(7), []
    for examples in (5, 7):
        with recorded_graphs(monkeypatch, caplog, fewest_calls=2) as graphs:
            found = evaluated(examples)
        counts.append(len(graphs))
    assert counts[0] == counts[1]
    assert bool(counts[0]) == (model.not_captured is None)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "owner"),
    [("flow-tiny_gray-multiscale.coupling=affine", VariationalDequantizer), ("flow-tiny_table", RowCells)],
    ids=["levels", "rows"],
)
def test_what_fills_the_cells_is_replayed_with_the_density(
    name: str, owner: type, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Python goes through it to warm up and to record, and for none of the eight draws."""
    model = make_model(next(case for case in CASES if case.id.startswith(name))).eval()
    calls, of_noise = [], owner.of_noise
    monkeypatch.setattr(owner, "of_noise", lambda *arguments: (calls.append(1), of_noise(*arguments))[1])
    with recorded_graphs(monkeypatch, caplog, fewest_calls=8):
        measure_likelihood(model, make_batch(model.spec, 8), EvaluationProtocol("p", "test", 2, None, 8, 2, 0))
    assert len(calls) == WARM_UPS + 1
