"""Picture files of all modes and depths become what a person sees, at one size."""

from __future__ import annotations

import functools
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from genlab.data.decoding import Preparation, Unreadable, decode_picture, decode_pictures

SMALL = Preparation(8)
RED, WHITE = [255, 0, 0], [255, 255, 255]


def saved(picture: Image.Image, path: Path, **options: object) -> Path:
    picture.save(path, **options)
    return path


def pixels(path: Path, preparation: Preparation = SMALL) -> np.ndarray:
    found = decode_picture(path, preparation)
    assert (found.dtype, found.shape) == (np.uint8, (preparation.channels, preparation.size, preparation.size))
    assert found.flags.c_contiguous
    return found


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.gif", "a.bmp", "a.tif", "a.ppm", "a.jp2", "a.avif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_format_will_do(tmp_path: Path, name: str, channels: int) -> None:
    try:
        path = saved(Image.new("RGB", (40, 30), (200, 40, 40)), tmp_path / name)
    except (KeyError, OSError):
        pytest.skip(f"this build of Pillow writes no {path.suffix}")
    expected = [200, 40, 40] if channels == 3 else [88]  # 0.299 R + 0.587 G + 0.114 B
    assert np.abs(pixels(path, Preparation(8, channels)).mean((1, 2)) - expected).max() <= 3


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK"])
def test_any_mode_will_do(tmp_path: Path, mode: str) -> None:
    name = "a.jpg" if mode == "CMYK" else "a.png"
    path = saved(Image.new("RGB", (20, 20), "white").convert(mode), tmp_path / name)
    assert Image.open(path).mode == mode
    assert (pixels(path) >= 254).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB"])
def test_what_is_transparent_shows_the_ground(tmp_path: Path, mode: str) -> None:
    """Whatever colour it hides."""
    if mode in ("P", "RGB"):  # one colour stands for it
        picture = Image.new("RGB", (16, 16), "black").convert(mode)
        transparent = picture.getpixel((0, 0))
        picture.paste(Image.new("RGB", (8, 16), "white").convert(mode), (8, 0))
        path = saved(picture, tmp_path / "a.png", transparency=transparent)
    else:
        opaque = np.zeros((16, 16), np.uint8)
        opaque[:, 8:] = 255
        picture = Image.new(mode[:-1], (16, 16), "white")
        picture.putalpha(Image.fromarray(opaque))
        path = saved(picture, tmp_path / "a.png")
    found = pixels(path, Preparation(8, background="#ff0000"))
    assert found[:, 4, 0].tolist() == RED
    assert found[:, 4, 7].tolist() == WHITE
    assert pixels(path, Preparation(8, 1, background="#ff0000"))[0, 4, [0, 7]].tolist() == [76, 255]


def test_half_of_it_is_a_mixture_and_what_it_hides_does_not_bleed(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (64, 64), (0, 0, 255, 0))  # blue that nobody sees
    picture.paste((255, 0, 0, 128), (32, 0, 64, 64))
    found = pixels(saved(picture, tmp_path / "a.png"))
    assert np.abs(found[:, 4, 7].astype(int) - [255, 127, 127]).max() <= 1
    assert found[2].min() >= found[1].min() >= 120


@pytest.mark.parametrize(("name", "kind"), [("a.png", np.uint16), ("a.tif", np.uint16), ("a.pgm", np.uint16)])
def test_16_bits_keep_their_proportions(tmp_path: Path, name: str, kind: type) -> None:
    values = np.repeat(np.linspace(0, 65535, 8).astype(kind)[None], 8, axis=0)
    path = saved(Image.fromarray(values), tmp_path / name)
    found = pixels(path, Preparation(8, 1))[0, 3]
    assert np.abs(found - np.linspace(0, 255, 8)).max() <= 1
    assert (pixels(path)[:, 3] == found).all(), "and all colours are the gray"


@pytest.mark.parametrize("values", [np.full((8, 8), 1 << 20, np.int32), np.full((8, 8), 0.5, np.float32)])
def test_values_whose_range_is_not_known_are_told(tmp_path: Path, values: np.ndarray) -> None:
    with pytest.raises(Unreadable, match="expected 8 or 16 bits"):
        decode_picture(saved(Image.fromarray(values), tmp_path / "a.tif"), SMALL)


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_turned_as_the_camera_was_held(tmp_path: Path, orientation: int, fit: str, suffix: str) -> None:
    """As Pillow itself would turn it before anything else; TIFF it has turned already when it has loaded it."""
    random = np.random.RandomState(0).randint(0, 256, (6, 4, 3)).astype(np.uint8)
    picture = Image.fromarray(random).resize((64, 96), Image.Resampling.NEAREST)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(picture, tmp_path / f"a.{suffix}", exif=exif, **({"lossless": True} if suffix == "webp" else {}))
    with Image.open(path) as opened:
        upright = saved(ImageOps.exif_transpose(opened), tmp_path / "upright.png")
    ours, expected = (pixels(one, Preparation(8, 3, fit)).astype(int) for one in (path, upright))
    # Large pictures are reduced from one end, which is another one here; turned wrongly, values differ by hundreds.
    assert np.abs(ours - expected).max() <= 10


def test_exif_that_is_damaged_costs_nothing(tmp_path: Path) -> None:
    path = saved(Image.new("RGB", (16, 16), "red"), tmp_path / "a.png", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    with warnings.catch_warnings(record=True) as caught:
        (found,) = decode_pictures([path], SMALL)
    assert found[:, 0, 0].tolist() == RED
    assert not caught, "nobody can mend it"


@pytest.mark.parametrize("size", [(60, 20), (20, 60), (61, 20), (1, 301), (3, 3)])
def test_crop_keeps_the_middle_and_pad_all_of_it(tmp_path: Path, size: tuple[int, int]) -> None:
    picture = Image.new("RGB", size, "red")
    side = min(size)
    middle = ((size[0] - side) // 2, (size[1] - side) // 2)
    picture.paste("blue", (*middle, middle[0] + side, middle[1] + side))
    path = saved(picture, tmp_path / "a.png")
    assert pixels(path)[2, 1:7, 1:7].mean() >= 230, "at its edge there is some of what lies beside it"
    padded = pixels(path, Preparation(8, fit="pad", background="lime"))
    if size[0] != size[1]:
        is_ground = padded[1] > 200
        ends = is_ground if size[0] > size[1] else is_ground.T
        assert ends[[0, -1]].all(), "above and below, or at both sides"
        assert not ends[3].all()


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_large_pictures_are_scaled_without_jagged_edges(tmp_path: Path, name: str) -> None:
    """Fine stripes become an even gray; the shortcuts for large pictures change no value by much."""
    stripes = np.zeros((512, 512), np.uint8)
    stripes[:, ::2] = 255
    slope = np.linspace(0, 255, 512)[None].repeat(512, 0).astype(np.uint8)
    options = {"quality": 95} if name == "a.jpg" else {}
    found = pixels(saved(Image.fromarray(stripes), tmp_path / name, **options), Preparation(64, 1))
    assert np.abs(found.astype(int) - 128).max() <= 3
    path = saved(Image.fromarray(slope), tmp_path / name, **options)
    exact = np.asarray(Image.open(path).resize((64, 64), Image.Resampling.BOX)).astype(int)
    assert np.abs(pixels(path, Preparation(64, 1))[0] - exact).max() <= 3


def test_the_first_frame_counts(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    path = saved(frames[0], tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert pixels(path)[:, 0, 0].tolist() == RED


def damaged(path: Path, kind: str) -> Path:
    if kind == "missing":
        return path
    content = saved(Image.effect_noise((64, 64), 90), path).read_bytes()
    path.write_bytes({"empty": b"", "text": b"no picture", "cut": content[: len(content) // 2]}[kind])
    return path


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("kind", ["empty", "text", "cut", "missing"])
def test_what_cannot_be_read_says_why(tmp_path: Path, suffix: str, kind: str) -> None:
    with pytest.raises(Unreadable) as caught:
        decode_picture(damaged(tmp_path / f"a.{suffix}", kind), SMALL)
    assert len(str(caught.value)) > 5
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_formats_that_start_programs_are_not_read(tmp_path: Path) -> None:
    path = saved(Image.new("RGB", (8, 8)), tmp_path / "a.eps")
    with pytest.raises(Unreadable, match="of a kind that is not read"):
        decode_picture(path.rename(tmp_path / "a.png"), SMALL)


def test_many_come_in_their_order(tmp_path: Path) -> None:
    paths = [saved(Image.new("L", (9, 9), shade), tmp_path / f"{shade}.png") for shade in range(0, 200, 2)]
    paths[7] = tmp_path / "missing.png"
    found = list(decode_pictures(paths, Preparation(4, 1)))
    assert isinstance(found[7], Unreadable)
    assert [int(one[0, 0, 0]) for one in found if isinstance(one, np.ndarray)] == [
        s for s in range(0, 200, 2) if s != 14
    ]


def test_few_are_in_memory_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    path = saved(Image.new("L", (9, 9)), tmp_path / "a.png")
    real = functools.partial(decode_picture, path)

    def counted(_: Path, preparation: Preparation) -> np.ndarray:
        opened.append(1)
        return real(preparation)

    monkeypatch.setattr("genlab.data.decoding.decode_picture", counted)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1}, raising=False)
    pictures = decode_pictures([path] * 1000, SMALL)
    next(pictures)
    assert len(opened) < 100
    assert sum(1 for _ in pictures) == 999
