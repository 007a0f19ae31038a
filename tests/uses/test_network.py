"""Networks as programs of torch.export: they compute what the model does, and one draws with them as it is said."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from genlab.core.errors import GenlabError
from genlab.runs.exports import NETWORK
from genlab.uses.network import ProgramInfo, require_network, write_network
from tests.contract.families import CASES, make_model
from tests.elsewhere import ELSEWHERE, elsewhere


def model_of(case: str) -> Any:
    return make_model(next(each for each in CASES if each.id == case)).eval().requires_grad_(False)


def written(folder: Path, model: Any) -> tuple[Any, ProgramInfo]:
    info = write_network(folder / NETWORK, model)
    assert b".py" not in (folder / NETWORK).read_bytes(), "it names files of this machine"
    return torch.export.load(folder / NETWORK).module(), info


@pytest.mark.parametrize(
    "case",
    [
        "vae-tiny_gray",
        "gan-tiny_gray-conditional=true",
        "vae-tiny_series",
        "hvae-tiny_gray",
        "flow-tiny_gray",
        "flow-tiny_plane",
        "vae-tiny_table-components=2",
    ],
)
def test_latents_become_the_data_that_the_model_decodes(case: str, tmp_path: Path) -> None:
    model = model_of(case)
    program, info = written(tmp_path, model)
    y = (torch.tensor([2, 0]),) if model.conditional else ()
    (dims,) = (int(info.inputs["z"].partition("]")[0][1:]),)
    z = torch.randn(2, dims)
    torch.testing.assert_close(program(z, *y), model.decode(z, *y))
    assert [*info.inputs] == ["z", *["y"] * len(y)]
    assert 0 <= info.difference <= 1e-4 * info.largest


DIFFUSION = "diffusion-tiny_colour-parameterization=epsilon-noise.schedule=linear-sampler=ddim"


def test_the_velocity_carries_noise_to_what_the_model_draws(tmp_path: Path) -> None:
    model = model_of("flow_matching-tiny_gray-conditional=true-label_dropout=0.2-guidance=2")
    program, info = written(tmp_path, model)
    noise, y = torch.randn(2, 1, 4, 4), torch.tensor([2, 0])
    no_label = torch.full_like(y, 3)
    model.sampler = replace(model.sampler, solver="euler", steps=3)
    x = noise
    for step in range(3):
        t = torch.full((2,), step / 3)
        free, given = program(x, t, no_label), program(x, t, y)
        x = x + (free + 2 * (given - free)) / 3
    torch.testing.assert_close(x, model.generate(noise, y, None))
    assert (info.output, info.inputs["t"]) == ("the velocity v", "time, from 0 to 1")
    assert info.inputs["y"] == "int64, the label, 0 to 2; no label is the number after the last"


def test_the_denoiser_carries_noise_to_what_the_model_draws(tmp_path: Path) -> None:
    model, noise = model_of(DIFFUSION), torch.randn(2, 3, 8, 8)
    program, info = written(tmp_path, model)
    levels = [*model.noise.sampling_sigmas(model.steps).float().tolist()]
    x = float(info.use.partition("normal noise times ")[2].partition(";")[0]) * noise
    for level, following in pairwise(levels):
        x = x + (following - level) * (x - program(x, torch.full((2,), level))) / level
    torch.testing.assert_close(x, model.generate(noise, None, None), rtol=1e-3, atol=1e-4)
    assert info.inputs["t"] == f"noise level s, the standard deviation of the noise, from {levels[0]:g} to 0.002"
    assert info.inputs["x"] == "[3, 8, 8] after the batch: noisy data, level k as 2 (k + 1/2) / 256 - 1"


@pytest.mark.parametrize(
    "case",
    [
        "gmm-tiny_plane-components=auto",
        "pixelcnn-tiny_gray-hidden=8-dilations=[1,2]",
        "flow_matching-tiny_table",
        "vae-tiny_text",
    ],
)
def test_what_has_no_such_network_is_a_line(case: str) -> None:
    model = model_of(case)
    with pytest.raises(GenlabError, match=f"^network is true, but this {model.name} does not draw by one network of"):
        require_network(model)


@pytest.mark.parametrize("case", ["vae-tiny_gray", "gan-tiny_gray-conditional=true"])
def test_whether_there_is_one_is_known_before_the_work_on_any_device(case: str) -> None:
    with elsewhere():
        require_network(model_of(case).to(ELSEWHERE))


def test_a_program_that_errs_is_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genlab.uses.network._TOLERANCE", -1.0)
    with pytest.raises(GenlabError, match="program of this vae errs"):
        write_network(tmp_path / NETWORK, model_of("vae-tiny_gray"))
    assert not (tmp_path / NETWORK).exists()


def test_what_torch_cannot_write_out_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("a page")

    monkeypatch.setattr(torch.export, "export", fail)
    with pytest.raises(GenlabError, match=r"torch.export cannot make a program of this vae \(ValueError\). Leave netw"):
        write_network(tmp_path / NETWORK, model_of("vae-tiny_gray"))
