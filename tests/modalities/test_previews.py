"""Previews: pictures of samples and of pairs, for the kinds of data that have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from matplotlib.figure import Figure
from PIL import Image

from genlab.comparison.figures import LEAST_DRAWN
from genlab.core.spec import DataSpec, Field
from genlab.modalities import modality_of
from genlab.modalities.base import Places
from genlab.modalities.image import image_grid, pairs_grid
from genlab.modalities.table_pictures import _association, draw_pair, related_pairs
from genlab.modalities.text import decoded
from genlab.modalities.waveform import ENCODINGS

LETTERS = DataSpec("letters", "text", (5,), levels=5, alphabet="a$\n\x1bä")
TABLE = DataSpec(
    "table",
    "table",
    (3,),
    fields=(Field("$a$"), Field("b\x1b", levels=2, categories=("$", "\n")), Field("c", decimals=0, rounded=True)),
)
MIXED_TABLE = DataSpec(
    "mixed",
    "table",
    (4,),
    fields=(Field("a"), Field("b"), Field("c", levels=2), Field("$d_", levels=2, categories=("$x", "y"))),
)
SOUND = DataSpec("sound", "waveform", (1, 900), levels=256, sampling_rate_hz=8000)


def test_a_grid_shows_each_image_in_its_place_and_full_range() -> None:
    images = torch.zeros(3, 1, 2, 2, dtype=torch.uint8)
    images[1] = 16
    grid = image_grid(images, levels=17, columns=2)
    scale = grid.shape[1] // 7
    small = grid[scale // 2 :: scale, scale // 2 :: scale, 0]
    assert small.shape == (7, 7)
    assert (small[1:3, 1:3] == 0).all()
    assert (small[1:3, 4:6] == 255).all()
    assert (small[4:6, 4:6] == 96).all(), "an empty place is ground"


PLACES = [MIXED_TABLE, DataSpec("v", "vector", (2,)), DataSpec("s", "series", (2, 5))]


@pytest.mark.parametrize("spec", PLACES, ids=lambda spec: spec.modality)
def test_values_are_drawn_place_by_place(spec: DataSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values against those of the example, or along a way; what is not given is no value."""
    x = torch.randint(2, (3, *spec.shape)).float()
    given = x.where(torch.arange(3).view(3, *[1] * len(spec.shape)) > 0, modality_of(spec).blank(spec))
    figures = []
    saved = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (figures.append(self), saved(self, *a, **k)))
    for places in (None, Places("rank", ["1", "2", "3"])):
        rows = {"example": x, "given": given} if places is None else {"latent 1": x, "latent 0": 1 - x}
        assert modality_of(spec).preview_rows(rows, spec, tmp_path / "a.png", "Run 7", places)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.text["Title"] == "Run 7"
    panels = [len([axes for axes in figure.axes if axes.has_data()]) for figure in figures]
    assert panels == ([3, 2] if spec.modality == "series" else [spec.num_dims] * 2)


def test_each_sample_stands_above_its_training_example() -> None:
    upper = torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1).expand(-1, -1, 2, 2)
    grid = pairs_grid(upper, upper + 100, levels=256)
    scale = grid.shape[1] // 25
    small = grid[scale // 2 :: scale, scale // 2 :: scale, 0]
    middles = small[1::3, 1::3]
    assert small.shape == (7 + 3 + 7, 25)
    assert middles[0].tolist() == list(range(8))
    assert middles[1].tolist() == list(range(100, 108))
    assert small[11, 1::3].tolist() == [8, 9] + [96] * 6, "the second band, with empty places"
    assert small[14, 1::3].tolist() == [108, 109] + [96] * 6
    assert (small[6:11] == 96).all(), "bands lie farther apart than the two of a pair"


@pytest.mark.parametrize(
    ("spec", "samples"),
    [
        (DataSpec("gray", "image", (1, 4, 4), levels=17), torch.full((5, 1, 4, 4), 16, dtype=torch.uint8)),
        (DataSpec("colour", "image", (3, 4, 4), levels=256), torch.zeros(5, 3, 4, 4, dtype=torch.uint8)),
        (DataSpec("plane", "vector", (2,)), torch.randn(20, 2)),
        (DataSpec("line", "vector", (1,)), torch.randn(20, 1)),
        (LETTERS, torch.zeros(2, 5, dtype=torch.long)),
        (SOUND, torch.full((2, 1, 900), 128)),
        (DataSpec("prices", "series", (2, 8), columns=("$a", "b")), torch.randn(30, 2, 8)),
        (DataSpec("constant", "series", (1, 2)), torch.zeros(2, 1, 2)),
        (DataSpec("noise", "waveform", (2, 40)), torch.randn(9, 2, 40)),
        (TABLE, torch.tensor([[1.5, 0, 3], [2.5, 1, 3]])),
        (MIXED_TABLE, torch.cat([torch.randn(30, 2).round(), torch.randint(2, (30, 2))], 1).float()),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_pictures_open_and_say_which_run(spec: DataSpec, samples: torch.Tensor, tmp_path: Path) -> None:
    path = tmp_path / "samples" / "a.png"
    assert modality_of(spec).preview(samples, spec, path, "flow, run 1")
    with Image.open(path) as picture:
        assert picture.text["Title"] == "flow, run 1"
        assert min(picture.size) > 100


def test_texts_beside_real_ones_are_so_wide_that_a_report_shows_them_large(tmp_path: Path) -> None:
    x = torch.zeros(2, 5, dtype=torch.long)
    assert modality_of(LETTERS).preview_rows({"example": x, "reconstruction": x}, LETTERS, tmp_path / "a.png", "Run 7")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width >= LEAST_DRAWN


def test_only_columns_that_were_filled_in_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.tensor([[1.5, 0.5, 1, 0], [2.5, 1.5, 0, 1]])
    rows = {"example": x, "given": x.clone(), "completion 1": x + 0}
    rows["given"][0, 3] = torch.nan
    shown: list[str] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: shown.extend(a.get_title("left") for a in self.axes))
    modality_of(MIXED_TABLE).preview_rows(rows, MIXED_TABLE, tmp_path / "a.png", "Run 7")
    assert shown == ["$d_"]


def mixed(count: int, seed: int) -> np.ndarray:
    """Two numbers that depend on each other, two categories that do, and one that depends on a number; all apart."""
    random = np.random.RandomState(seed)
    a, kind, noise = random.standard_normal(count), random.randint(3, size=count), random.standard_normal((3, count))
    other = np.where(noise[0] > 1, random.randint(3, size=count), (kind + 1) % 3)
    return np.column_stack([a, kind, 2 * a + noise[1] / 2, other, noise[2]])


MIXED = (Field("a"), Field("kind", levels=3), Field("b"), Field("other", levels=3), Field("alone"))


def test_the_pairs_shown_are_those_that_depend_on_each_other_and_no_column_is_in_many() -> None:
    x = mixed(500, 0)
    assert sorted(related_pairs(x, MIXED, 2)) == [(0, 2), (1, 3)]
    same = np.column_stack([x[:, 0]] * 5)
    found = related_pairs(same, [Field(str(number)) for number in range(5)], 8)
    assert len(found) == 4, "one row of pairs and no circle"
    assert max(np.bincount(np.ravel(found))) == 2
    assert related_pairs(x[:, :1], MIXED[:1], 8) == []
    marked = (*MIXED[:1], Field("a is missing", levels=2, marks="a"), *MIXED[2:3])
    assert related_pairs(np.column_stack([x[:, 0], x[:, 0] > 0, x[:, 2]]), marked, 8) == [(0, 2)]


def test_the_strength_of_a_pair_is_one_of_equal_columns_and_near_zero_of_independent_ones() -> None:
    random = np.random.RandomState(0)
    kind = random.randint(4, size=300)
    assert _association(kind, (kind + 1) % 4) == pytest.approx(1)
    assert np.mean([_association(kind, random.randint(4, size=300)) for _ in range(40)]) < 0.06
    assert _association(kind, np.zeros(300)) == 0


def test_pairs_of_columns_are_drawn_as_they_are() -> None:
    """Points of two numbers, boxes of a number by category, squares as large as shares, real rows behind."""
    real, samples = mixed(200, 0), mixed(100, 1)
    axes = Figure().subplots()
    draw_pair(axes, MIXED[:3:2], (samples[:, 0], samples[:, 2]), (real[:, 0], real[:, 2]))
    assert [len(points.get_offsets()) for points in axes.collections] == [200, 100]
    axes = Figure().subplots()
    draw_pair(axes, MIXED[:2], (samples[:, 0], samples[:, 1]), (real[:, 0], real[:, 1]))
    assert axes.get_xlabel() == "kind", "categories lie across"
    boxes = [(bar.get_y(), bar.get_y() + bar.get_height()) for bar in axes.patches]
    expected = [np.quantile(x[x[:, 1] == k, 0], (0.25, 0.75)) for x in (real, samples)
                for k in np.argsort(-np.bincount(real[:, 1].astype(int)), kind="stable")]  # fmt: skip
    np.testing.assert_allclose(boxes, expected)
    axes = Figure().subplots()
    draw_pair(axes, MIXED[1:4:2], (samples[:, 1], samples[:, 3]), (real[:, 1], real[:, 3]))
    areas = np.array([square.get_width() * square.get_height() for square in axes.patches])
    first = np.argsort([square.get_facecolor()[3] == 0 for square in axes.patches], kind="stable")
    behind = areas[first][: sum(square.get_facecolor()[3] > 0 for square in axes.patches)]
    counts = np.unique(real[:, 1:4:2], axis=0, return_counts=True)[1]
    np.testing.assert_allclose(np.sort(behind / behind.max()), np.sort(counts / counts.max()))


def test_a_picture_of_pairs_says_which_run_and_vectors_have_none(tmp_path: Path) -> None:
    images = torch.zeros(3, 3, 4, 4, dtype=torch.uint8)
    colour = DataSpec("colour", "image", (3, 4, 4), levels=256)
    assert modality_of(colour).preview_pairs(images, images, colour, tmp_path / "samples" / "a.png", "gan, run 2")
    with Image.open(tmp_path / "samples" / "a.png") as picture:
        assert (picture.mode, picture.text["Title"]) == ("RGB", "gan, run 2")
    points = torch.zeros(3, 2)
    plane = DataSpec("plane", "vector", (2,))
    assert not modality_of(plane).preview_pairs(points, points, plane, tmp_path / "b.png", "gan")
    assert not (tmp_path / "b.png").exists()


def test_data_without_a_picture_gets_none(tmp_path: Path) -> None:
    spec = DataSpec("five channels", "image", (5, 4, 4), levels=2)
    samples = torch.zeros(2, 5, 4, 4, dtype=torch.uint8)
    assert not modality_of(spec).preview(samples, spec, tmp_path / "a.png", "title")
    assert not (tmp_path / "a.png").exists()
    assert modality_of(spec).write(samples, spec, tmp_path / "a") == []


def test_a_text_is_written_as_it_reads_and_what_controls_terminals_is_shown(tmp_path: Path) -> None:
    (path,) = modality_of(LETTERS).write(torch.tensor([[0, 1, 2, 3, 4], [1] * 5]), LETTERS, tmp_path / "new" / "a.b")
    assert path.name == "a.b.txt"
    assert path.read_text() == "--- 1\na$\n\N{REPLACEMENT CHARACTER}ä\n--- 2\n$$$$$\n"
    raw = DataSpec("bytes", "text", (3,), levels=256)
    assert decoded(torch.tensor(list("ä!".encode())), raw) == "ä!"
    assert decoded(torch.tensor([0x41, 0xFF, 0x42]), raw) == "A\N{REPLACEMENT CHARACTER}B"


def test_a_sound_is_written_as_it_is_heard(tmp_path: Path) -> None:
    tone = 0.5 * torch.sin(torch.arange(900) * 0.3)
    samples = ENCODINGS["mulaw8"].encode(tone).view(1, 1, 900).repeat(9, 1, 1)
    paths = modality_of(SOUND).write(samples, SOUND, tmp_path / "a")
    assert [path.name for path in paths] == [f"a_{number}.wav" for number in range(1, 9)], (
        "no more than a picture shows"
    )
    heard, rate = soundfile.read(paths[0])
    assert rate == 8000
    np.testing.assert_allclose(heard, tone, atol=0.02)
    stereo = DataSpec("stereo", "waveform", (2, 40), sampling_rate_hz=44_100)
    (path,) = modality_of(stereo).write(torch.full((1, 2, 40), 3.0), stereo, tmp_path / "loud")
    heard, rate = soundfile.read(path)
    assert (heard.shape, rate) == ((40, 2), 44_100)
    assert heard.max() <= 1
