"""WaveNet: what it sees, how samples are drawn, and sounds that differ in length."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from genlab.core.spec import DataSpec
from genlab.models import wavenet
from genlab.models.wavenet import WaveNet
from tests.contract.families import SMALL_WAVENET, SOUND, Case, make_batch, make_model, perturb

LONG = replace(SOUND, shape=(1, 20), levels=16)


def make(spec: DataSpec = LONG, *overrides: str) -> WaveNet:
    made = make_model(Case("wavenet", spec, [*SMALL_WAVENET, *overrides]))
    perturb(made, 0.3)
    assert isinstance(made, WaveNet)
    return made.eval()


def noise() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_it_sees_as_far_as_it_says() -> None:
    """The last output depends on the first of the values that are said to be seen, and on none before."""
    made = make(DataSpec("s", "waveform", (1, 20), sampling_rate_hz=4))
    x = torch.randn(1, 20, 1)
    seen = torch.autograd.functional.jacobian(lambda x: made.network(x)[..., -1, :], x).abs().sum((0, 1, 2, 3, 5))
    assert made.network.receptive_field == 8
    assert (seen > 0).tolist() == [False] * 11 + [True] * 8 + [False]
    assert made.variant == "gaussian, sees 8 samples (2000 ms)"


def test_queues_draw_what_full_passes_do_up_to_the_longest() -> None:
    """With queues that went round more than once, and without a step after the longest sample has ended."""
    made = make(LONG, "conditional=true")
    y = torch.tensor([0, 1, 1])
    there = (torch.arange(20) < torch.tensor([5, 17, 9])[:, None])[:, None]
    asked: list[int] = []

    def counted() -> object:
        steps = made.network.steps(3, y)
        value = yield next(steps)
        while True:
            asked.append(len(asked))
            value = yield steps.send(value)

    naive = made.draw(made.network.naive_steps(3, y), noise(), there=there)
    assert torch.equal(made.draw(counted(), noise(), there=there), naive)
    assert len(asked) == 16
    assert (naive[~there] == 8).all()
    assert len(naive[there].unique()) > 5


def test_lengths_belong_to_the_label() -> None:
    made, batch = make(LONG, "conditional=true"), make_batch(LONG, 40)
    y = torch.arange(40) % 2
    mask = (torch.arange(20) < torch.where(y == 0, 4, 15)[:, None])[:, None]
    made.initialize(batch._replace(y=y, mask=mask))
    assert torch.equal(made.sample(40, y, noise())[~mask], torch.full((40 * 20 - int(mask.sum()),), 8))
    assert torch.equal(made._there(40, y, noise()), mask)


def test_what_is_kept_is_not_cut_off() -> None:
    made, x = make(), make_batch(LONG, 6).x
    kept = (torch.arange(20) == 18).expand_as(x)
    filled = made.inpaint(x, kept, generator=noise())
    assert torch.equal(filled[kept], x[kept])
    assert (filled[..., 19] == 8).any()
    nothing = torch.zeros_like(kept)
    assert torch.equal(made.inpaint(x, nothing, generator=noise()), made.sample(6, generator=noise()))


def test_long_recordings_are_scored_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    made, batch = make(LONG, "conditional=true"), make_batch(LONG, 5)
    expected = made.log_prob(batch.x, batch.y, mask=batch.mask)
    monkeypatch.setattr(wavenet, "VALUES_AT_ONCE", 45)
    passes: list[Tensor] = []
    made.network.register_forward_hook(lambda _, given, __: passes.append(given[0]))
    with torch.no_grad():
        torch.testing.assert_close(made.log_prob(batch.x, batch.y, mask=batch.mask), expected)
    assert [len(x) for x in passes] == [2, 2, 1]


def test_a_device_without_validation_examples_scores_none() -> None:
    made, none = make(LONG, "conditional=true"), make_batch(LONG, 2).rows(slice(0))
    with torch.no_grad():
        assert made.log_prob(none.x, none.y, mask=none.mask).shape == (0,)


@pytest.mark.parametrize(
    ("levels", "name"), [(2, "categorical"), (256, "categorical"), (65536, "logistic_mixture"), (None, "gaussian")]
)
def test_the_levels_of_8_bits_are_categories(levels: int | None, name: str) -> None:
    made = make(replace(LONG, levels=levels))
    assert made.observation.name == name
    assert made.log_prob(make_batch(made.spec, 2).x).isfinite().all()


@pytest.mark.parametrize("change", ["hidden=9", "skip=9", "dilations=[1,2]"])
def test_every_size_changes_the_log_prob(change: str) -> None:
    x = make_batch(LONG, 2).x
    assert (make().log_prob(x) != make(LONG, change).log_prob(x)).any()


def test_a_table_of_levels_begins_as_the_waves_do() -> None:
    """So levels beside each other are alike, and those far apart are not."""
    torch.manual_seed(0)
    table = make_model(Case("wavenet", replace(LONG, levels=256), SMALL_WAVENET)).network.values[0].table.weight
    beside, apart = (table[1:] - table[:-1]).norm(dim=1), (table[128:] - table[:128]).norm(dim=1)
    assert beside.mean() < 0.3 * apart.mean()
