"""What the page shows is what the commands make, to the pixel; its figures are those of the models."""

from __future__ import annotations

import base64
import io
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from PIL import Image

import genlab
from genlab.command import cli
from genlab.command.build import build_datamodule
from genlab.command.config import read_trained
from genlab.command.explorer.commands import command
from genlab.command.explorer.lab import Opened
from genlab.core.batch import Batch
from genlab.core.noise import ExampleNoise
from genlab.core.randomness import Stream, some_of, stream_seed
from genlab.modalities.image import image_grid
from genlab.runs.finding import find_run
from genlab.runs.folder import RunDir

Ask = Callable[..., Any]


def pixels(uri: str) -> np.ndarray:
    kind, _, content = uri.partition(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def grid(x: torch.Tensor) -> np.ndarray:
    return np.asarray(Image.fromarray(image_grid(x, 17).squeeze(-1)))


@pytest.fixture
def vae(logs: Path, names: dict[str, str]) -> str:
    return str(logs / "runs" / names["vae"])


@pytest.mark.parametrize(
    ("kind", "settings", "where"),
    [
        ("sample", {"n": 5, "seed": 3}, None),
        ("interpolate", {"a": 2, "b": 0, "steps": 4, "path": "linear"}, None),
        ("latents", {"example": 1}, "strip"),
    ],
)
def test_the_command_makes_the_same_picture(
    ask: Ask, names: dict[str, str], vae: str, kind: str, settings: dict[str, Any], where: str | None
) -> None:
    found = ask("POST", f"/api/{kind}", {"run": names["vae"], **settings}).json
    samples = Path(vae) / "samples"
    before = set(samples.iterdir())
    words = shlex.split(found["command"])
    assert cli.main([*words[1:], "device=cpu"]) == 0
    (picture,) = (path for path in set(samples.iterdir()) - before if path.suffix == ".png")
    shown = pixels(found[where]["picture"] if where else found["picture"])
    np.testing.assert_array_equal(shown, np.asarray(Image.open(picture)))


def test_sliders_decode_what_the_python_beside_them_decodes(ask: Ask, names: dict[str, str], logs: Path) -> None:
    run = logs / "runs" / names["flow"]  # whose picture every latent changes
    ranked = ask("POST", "/api/latents", {"run": names["flow"], "example": 2}).json
    chosen = [slider["latent"] for slider in ranked["sliders"]][:2]
    asked = {"run": names["flow"], "example": 2, "latents": chosen, "values": [2.5, -1.0]}
    moved = ask("POST", "/api/decode", asked).json["now"]
    made: dict[str, Any] = {}
    exec(moved["command"], made)
    np.testing.assert_array_equal(pixels(moved["picture"]), grid(made["x"]))
    assert made["z"][0, chosen].tolist() == [2.5, -1.0]
    # Where no slider was moved, it is the reconstruction.
    model, data = genlab.load_run(run), build_datamodule(read_trained(find_run(run)))
    example = data.tensors("test").x[2:3]
    back = model.decode(model.encode(example)).round().clamp(0, 16).byte()
    np.testing.assert_array_equal(pixels(ranked["now"]["picture"]), grid(back))
    shares = [slider["share"] for slider in ranked["sliders"]]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1)
    too_many = ask("POST", "/api/decode", asked | {"latents": [10**6, 0]})
    assert too_many.status == 422


def test_a_slider_reaches_a_code_that_lies_far_out(
    ask: Ask, names: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = ask("POST", "/api/latents", {"run": names["flow"], "example": 3}).json["sliders"]
    code = Opened.code
    monkeypatch.setattr(Opened, "code", lambda self, example: 20 * code(self, example))
    found = ask("POST", "/api/latents", {"run": names["flow"], "example": 3}).json["sliders"]
    assert any(far["value"] < near["low"] for far, near in zip(found, usual, strict=True))
    assert any(far["value"] > near["high"] for far, near in zip(found, usual, strict=True))
    for far, near in zip(found, usual, strict=True):
        assert far["value"] == pytest.approx(20 * near["value"], rel=1e-6)
        assert (far["low"], far["high"]) == (min(near["low"], far["value"]), max(near["high"], far["value"]))


def test_a_drawing_is_scored_as_any_example(
    ask: Ask, names: dict[str, str], vae: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels = torch.randint(17, (64,), generator=torch.Generator().manual_seed(0)).tolist()
    for name in ("vae", "gmm"):
        found = ask("POST", "/api/draw", {"run": names[name], "levels": levels}).json
        run = RunDir(Path(vae).parents[1] / Path(names[name]).relative_to("digits"))
        model, data = genlab.load_run(run.path), build_datamodule(read_trained(run))

        def nll(x: torch.Tensor, number: int, model: Any = model) -> torch.Tensor:
            noise = ExampleNoise(stream_seed(Stream.LIKELIHOOD, 0, 2, number), 0, torch.device("cpu"))
            return -model.log_prob(x, generator=noise).double()

        x = torch.tensor(levels, dtype=torch.uint8).view(1, 1, 8, 8)
        expected = float(nll(x, 3))
        scores = {score["name"]: score for score in found["scores"]}
        assert found["figures"][0]["value"] == f"{-expected:,.2f} nats"
        assert float(scores["nll"]["value"]) == pytest.approx(expected, rel=1e-3)
        test = data.tensors("test").x
        usual = nll(test[some_of(torch.arange(len(test)), 200)], 0)
        assert scores["nll"]["of"] == 200
        assert scores["nll"]["below"] == pytest.approx(float((usual < expected).double().mean()), abs=0.006)
        monkeypatch.chdir(tmp_path)
        Path("drawing.png").write_bytes(base64.b64decode(found["drawing"].partition(",")[2]))
        made: dict[str, Any] = {}
        exec(found["command"], made)
        assert float(made["log_prob"]) == pytest.approx(-expected, rel=1e-6)
        if name == "vae":
            np.testing.assert_array_equal(pixels(found["back"]["picture"]), grid(made["back"]))
        else:
            assert found["back"] is None
            assert "gmm family cannot reconstruct" in found["no_back"]


def test_an_easy_and_a_strange_drawing_differ(ask: Ask, names: dict[str, str]) -> None:
    examples = ask("POST", "/api/examples", {"run": names["gmm"], "count": 1}).json["examples"]
    strange = [16 * ((place + place // 8) % 2) for place in range(64)]
    below = [
        ask("POST", "/api/draw", {"run": names["gmm"], "levels": levels}).json["scores"][0]["below"]
        for levels in (examples[0]["levels"], strange)
    ]
    assert below[0] < 1.0
    assert below[1] == 1.0


@pytest.mark.parametrize(
    ("model", "kind", "settings", "line"),
    [
        ("gmm", "sample", {"label": 3}, "is not class-conditional"),
        ("vae", "interpolate", {"a": 10**6}, "a is 1000000, expected 0 to"),
        ("gmm", "draw", {"levels": [0] * 63}, "The drawing has 63 pixels"),
        ("gmm", "draw", {"levels": [17] * 64}, "up to level 17, expected 8 x 8 of 17 levels"),
        ("gmm", "latents", {}, "cannot traverse"),
    ],
)
def test_refusals_are_those_of_the_commands(
    ask: Ask, names: dict[str, str], model: str, kind: str, settings: dict[str, Any], line: str
) -> None:
    answer = ask("POST", f"/api/{kind}", {"run": names[model], **settings})
    assert answer.status == 422
    assert line in answer.json["error"]


@pytest.mark.parametrize(
    "folder", ["logs/runs/a/b/1-s0", "my logs/x'y", "a=b,c", "[x]", "{x}", "$(touch x)", "a\\", "é", "\\'", "null "]
)
def test_a_command_survives_the_shell_and_hydra(folder: str) -> None:
    program, use, word = shlex.split(command("sample", RunDir(Path(folder))))
    assert (program, use) == ("genlab", "sample")
    parsed = OverridesParser.create().parse_override(word)
    assert parsed.key_or_group == "run"
    assert str(parsed.value()) == str(Path(folder))


def test_examples_are_those_of_the_test_split(ask: Ask, names: dict[str, str], vae: str) -> None:
    found = ask("POST", "/api/examples", {"run": names["vae"], "start": 4, "count": 2}).json
    test: Batch = build_datamodule(read_trained(find_run(vae))).tensors("test")
    assert [entry["number"] for entry in found["examples"]] == [4, 5]
    assert [entry["label"] for entry in found["examples"]] == test.y[4:6].tolist()
    assert found["examples"][0]["levels"] == test.x[4].flatten().tolist()
    assert found["count"] == len(test.x)
