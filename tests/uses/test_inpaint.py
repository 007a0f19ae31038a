"""Masks, completions of examples by any family, and the figures that are said of them."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from genlab.core.batch import Batch
from genlab.core.contract import Inpainting
from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec, Field
from genlab.uses.inpaint import (
    Completions,
    Estimate,
    as_points,
    energy_distance,
    energy_score,
    inpaint,
    score_completions,
)
from genlab.uses.masks import mask_of
from tests.contract.families import CASES, SERIES, SOUND, TABLE, make_batch, make_model

PICTURE = DataSpec("p", "image", (3, 4, 6), levels=17)


def test_masks_by_name() -> None:
    half = mask_of("half", PICTURE, 2)
    assert half.shape == (2, 3, 4, 6)
    assert half[:, :, :2].all()
    assert not half[:, :, 2:].any()
    box = mask_of("box", PICTURE, 1)[0, 0]
    assert box.int().tolist() == [[1] * 6, [1, 0, 0, 0, 0, 1], [1, 0, 0, 0, 0, 1], [1] * 6]
    assert mask_of("half", SOUND, 1)[0, 0].tolist() == [True] * 4 + [False] * 4
    random = mask_of("random", PICTURE, 500, seed=1)
    assert torch.equal(random, mask_of("random", PICTURE, 500, seed=1))
    assert not torch.equal(random, mask_of("random", PICTURE, 500, seed=2))
    assert torch.equal(random[:3], mask_of("random", PICTURE, 3, seed=1))
    assert (random[:, :1] == random).all(), "channels belong together"
    assert random.float().mean().item() == pytest.approx(0.5, abs=0.02)


def test_masks_of_columns() -> None:
    assert mask_of("kind, flag", TABLE, 2).tolist() == [[True, False, True, False]] * 2
    assert mask_of("volume", SERIES, 1).tolist() == [[[True] * 3, [False] * 3]]
    odd = DataSpec("t", "table", (2,), fields=(Field("a, b"), Field("c")))
    assert mask_of("a, b", odd, 1).tolist() == [[False, True]]


def test_a_mask_from_a_picture(tmp_path: Path) -> None:
    image = Image.new("RGB", (6, 4), "white")
    image.putpixel((5, 1), (0, 0, 0))
    image.save(tmp_path / "mask.png")
    mask = mask_of(str(tmp_path / "mask.png"), PICTURE, 2)
    assert (~mask).nonzero().tolist() == [[n, c, 1, 5] for n in range(2) for c in range(3)]


def test_masks_that_are_none(tmp_path: Path) -> None:
    Image.new("L", (4, 6)).save(tmp_path / "turned.png")
    Image.new("L", (6, 4), 255).save(tmp_path / "white.png")
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    os.symlink("loop.png", tmp_path / "loop.png")
    says = {
        "turned": "4 x 6 pixels, expected 6 x 4", "white": "white everywhere", "text": "cannot be read as a PNG",
        **dict.fromkeys(("folder", "pipe", "loop", "missing"), "no file"),
    }  # fmt: skip
    for name, reason in says.items():
        with pytest.raises(GenlabError, match=reason) as refused:
            mask_of(str(tmp_path / f"{name}.png"), PICTURE, 1)
        assert len(str(refused.value).splitlines()) == 1
    with pytest.raises(GenlabError, match="only pictures have masks"):
        mask_of(str(tmp_path / "white.png"), SOUND, 1)
    with pytest.raises(GenlabError, match=r"mask is 'hlaf', expected half, box, random, a PNG of 6 x 4 pixels\."):
        mask_of("hlaf", PICTURE, 1)
    with pytest.raises(GenlabError, match="or columns such as size"):
        mask_of("kind, wings", TABLE, 1)


@pytest.mark.parametrize("model", ["gan", "forest"])
def test_a_family_that_cannot_says_so(model: str) -> None:
    case = next(c for c in CASES if c.model == model)
    batch = make_batch(case.spec, 2)
    with pytest.raises(GenlabError, match=r"family cannot inpaint: .* Use a gmm") as refused:
        inpaint(make_model(case).eval(), batch, torch.ones_like(batch.x, dtype=torch.bool))
    assert len(str(refused.value).splitlines()) == 1


def test_completions_of_examples_of_different_lengths() -> None:
    case = next(c for c in CASES if c.model == "wavenet" and c.spec == SOUND)
    batch = make_batch(SOUND, 4, seed=1)
    assert batch.mask is not None
    found = inpaint(make_model(case).eval(), batch, mask_of("half", SOUND, 4), each=3, seed=5)
    assert not (found.given & ~batch.mask).any()
    assert found.drawn.shape == (3, *batch.x.shape)
    assert torch.equal(found.drawn[:, found.given], batch.x[found.given].expand(3, -1))
    assert not torch.equal(found.drawn[0], found.drawn[1])
    again = inpaint(make_model(case).eval(), batch, mask_of("half", SOUND, 4), each=2, seed=5)
    assert torch.equal(again.drawn, found.drawn[:2])
    assert found.kind.is_exact


def test_energy_distances_are_those_of_normals() -> None:
    """In one dimension E|a - b| of two normals is known, so the distance of shifted ones is."""
    noise = torch.Generator().manual_seed(0)
    a, b = (torch.randn(40, 2000, 1, dtype=torch.float64, generator=noise) for _ in range(2))
    within, shift = 2 / math.sqrt(math.pi), 1.0
    between = math.sqrt(2) * (
        math.sqrt(2 / math.pi) * math.exp(-(shift**2) / 4) + shift / math.sqrt(2) * math.erf(shift / 2)
    )
    same, moved = Estimate.of(energy_distance(a, b)), Estimate.of(energy_distance(a, b + shift))
    assert abs(same.mean) < 4 * same.error
    assert abs(moved.mean - (2 * between - 2 * within)) < 4 * moved.error
    score = Estimate.of(energy_score(a, b[0]))
    assert abs(score.mean - within / 2) < 4 * score.error
    assert energy_score(a + shift, b[0]).mean() > score.mean


def test_completions_that_are_off_are_farther_than_chance_and_score_worse() -> None:
    noise = torch.Generator().manual_seed(0)
    centre = torch.randint(0, 8, (200, *PICTURE.shape), generator=noise)
    given = mask_of("half", PICTURE, 200)

    def drawn(shift: int, each: int) -> torch.Tensor:
        wobble = torch.randint(0, 4, (each, 200, *PICTURE.shape), generator=noise)
        return (centre + wobble + shift * ~given).to(torch.uint8)

    x, kind = drawn(0, 1)[0], Inpainting(True, "by hand")
    first, second, off = (Completions(x, given, drawn(shift, 4), kind) for shift in (0, 0, 3))
    found = score_completions(off, PICTURE, x, (first, second))
    assert found["energy_distance"].mean > 10 * found["energy_distance"].error
    assert abs(found["energy_distance_of_exact"].mean) < 4 * found["energy_distance_of_exact"].error
    assert found["energy_score_of_exact"].mean < 0.9 * found["energy_score"].mean
    assert set(score_completions(off, PICTURE, x)) == {"energy_score"}


def test_points_have_the_distances_that_they_should() -> None:
    text = DataSpec("t", "text", (4,), levels=5)
    x = torch.tensor([[0, 1, 2, 3], [0, 4, 2, 1]])
    points = as_points(x, text, x)
    assert (points[0] - points[1]).square().sum().item() == pytest.approx(2), "two symbols differ"
    picture = DataSpec("p", "image", (1, 1, 2), levels=5)
    assert as_points(torch.tensor([[[[0, 4]]]], dtype=torch.uint8), picture, x).tolist() == [[0, 1]]
    data = make_batch(TABLE, 200).x
    points = as_points(data[None], TABLE, data)
    assert points.shape == (1, 200, 2 + 3 + 2)
    assert points[0, :, :2].std(0, correction=0).tolist() == pytest.approx([1, 1])
    other = data.clone()
    other[:, 3] = 1 - other[:, 3]
    assert torch.allclose((as_points(other, TABLE, data) - points[0]).square().sum(1), torch.ones(200).double())
    series = make_batch(SERIES, 50).x
    assert as_points(series, SERIES, series).std(correction=0).item() == pytest.approx(1, abs=1e-6)


def test_what_is_no_part_of_an_example_is_not_given() -> None:
    case = next(c for c in CASES if c.model == "gmm" and c.spec == SOUND)
    x = torch.zeros(1, 1, 8, dtype=torch.int64)
    mask = torch.arange(8).expand(1, 1, 8) < 2
    found = inpaint(make_model(case).eval(), Batch(x, None, mask), torch.ones_like(mask))
    assert torch.equal(found.given, mask)
