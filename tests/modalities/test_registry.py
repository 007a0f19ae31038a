"""Kinds of data: found by their names, matched with families by layouts, asked for by comparison nowhere else."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import torch

from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec
from genlab.modalities import all_modalities, modality_of
from genlab.models.base import GenerativeModel
from genlab.models.diffusion import Diffusion
from genlab.models.flow import Flow
from genlab.models.flow_matching import FlowMatching
from genlab.models.forest import Forest
from genlab.models.gan import Gan
from genlab.models.gmm import GMM
from genlab.models.hvae import HVae
from genlab.models.made import Made
from genlab.models.ngram import NGram
from genlab.models.pixelcnn import PixelCNN
from genlab.models.pixelrnn import PixelRNN
from genlab.models.transformer import Transformer
from genlab.models.vae import Vae
from genlab.models.wavenet import WaveNet

SOURCE = Path(__file__).parents[2] / "src" / "genlab"

IMAGE = DataSpec("digits", "image", (1, 8, 8), levels=17)
VECTOR = DataSpec("points", "vector", (2,))
TEXT = DataSpec("letters", "text", (5,), levels=65)
SOUND = DataSpec("speech", "waveform", (1, 16))
SERIES = DataSpec("prices", "series", (2, 16))

DEFAULTS: dict[type[GenerativeModel], dict[DataSpec, str]] = {
    Diffusion: {IMAGE: "unet", VECTOR: "mlp", SOUND: "diffwave", SERIES: "diffwave"},
    Flow: {IMAGE: "multiscale", VECTOR: "nsf", SOUND: "waveglow", SERIES: "nsf"},
    FlowMatching: {IMAGE: "unet", VECTOR: "mlp", SOUND: "diffwave", SERIES: "diffwave"},
    Forest: {VECTOR: "trees"},
    Gan: {IMAGE: "conv", VECTOR: "mlp", SOUND: "wave", SERIES: "wave"},
    GMM: {IMAGE: "mixture", VECTOR: "mixture", TEXT: "mixture", SOUND: "mixture", SERIES: "mixture"},
    HVae: {IMAGE: "topdown", VECTOR: "topdown"},
    Made: {IMAGE: "mlp", VECTOR: "mlp", TEXT: "mlp", SOUND: "mlp", SERIES: "mlp"},
    NGram: {TEXT: "counts"},
    PixelCNN: {IMAGE: "pixelcnn"},
    PixelRNN: {IMAGE: "pixelrnn"},
    Transformer: dict.fromkeys((IMAGE, VECTOR, TEXT, SOUND, SERIES), "transformer"),
    Vae: {IMAGE: "conv", VECTOR: "mlp", TEXT: "recurrent", SOUND: "signal", SERIES: "mlp"},
    WaveNet: {SOUND: "wavenet"},
}
"""The kinds of data that each family takes, and its network for each when none is named."""


@pytest.mark.parametrize("spec", [IMAGE, VECTOR, TEXT, SOUND, SERIES], ids=lambda spec: spec.modality)
@pytest.mark.parametrize("family", DEFAULTS, ids=lambda family: family.__name__)
def test_a_family_takes_the_kinds_of_data_that_it_can_see(family: type[GenerativeModel], spec: DataSpec) -> None:
    network = DEFAULTS[family].get(spec)
    if network is None:
        assert re.search(rf"but {spec.name} is ({spec.modality}|continuous)\.", family.unsupported(spec) or "")
    else:
        assert family.unsupported(spec) is None
        assert family.default_network(spec) == network


@pytest.mark.parametrize(
    ("family", "spec", "message"),
    [
        (
            PixelCNN, DataSpec("two_moons", "vector", (2,)),
            "The pixelcnn family models image data, but two_moons is vector. Use model=made or model=transformer.",
        ),
        (Gan, TEXT, "The gan family models image, series, table, vector and waveform data, but letters is text."),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_in_a_line(family: type[GenerativeModel], spec: DataSpec, message: str) -> None:
    assert family.unsupported(spec) == message


def test_an_unknown_kind_of_data_gets_the_nearest_right_name() -> None:
    with pytest.raises(GenlabError, match=r"modality of x is 'imgae', expected one of .*image.*Did you mean 'image'\?"):
        modality_of(DataSpec("x", "imgae", (1, 2, 2)))


def test_a_shape_with_other_axes_is_refused() -> None:
    with pytest.raises(GenlabError, match=r"shape of x is \(8, 8\), but image data has the axes \(C, H, W\)"):
        modality_of(DataSpec("x", "image", (8, 8)))


def test_each_kind_of_data_says_all_that_is_asked_of_it() -> None:
    assert {modality.name for modality in all_modalities()} >= {"image", "vector", "text", "waveform", "series"}
    for modality in all_modalities():
        assert modality.axes
        assert modality.layouts
        measured = modality.features is not None or bool(modality.judged_as)
        assert measured == (modality.sample_figure is not None), "what is measured has a figure"


@pytest.mark.parametrize(
    ("spec", "dtype"),
    [
        (IMAGE, torch.uint8),
        (DataSpec("x_ray", "image", (1, 8, 8), levels=4096), torch.int32),
        (DataSpec("field", "image", (1, 8, 8)), torch.float32),
        (VECTOR, torch.float32),
        (DataSpec("counts", "vector", (2,), levels=5), torch.int64),
        (TEXT, torch.int64),
        (SOUND, torch.float32),
        (SERIES, torch.float32),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_examples_are_stored_as_their_kind_says(spec: DataSpec, dtype: torch.dtype) -> None:
    assert modality_of(spec).codec(spec).dtype == dtype


KINDS = {"image", "vector", "text", "waveform", "series"}


def asks_for_a_kind(node: ast.AST) -> bool:
    """Whether code compares a kind of data, or looks one up in a table of its own, which a new kind would break."""
    asked: list[ast.expr] = []
    match node:
        case ast.Compare(left=left, comparators=others):
            asked = [left, *others]
        case ast.Subscript(slice=key):
            asked = [key]
        case ast.Call(func=ast.Attribute(attr="get"), args=arguments):
            asked = list(arguments)
        case ast.Match(subject=subject):
            asked = [subject]
        case ast.Dict(keys=keys):
            return len(KINDS & {key.value for key in keys if isinstance(key, ast.Constant)}) > 1
    # A name that stands in for the kind is caught by what it is compared with.
    named = {part.value for value in asked for part in ast.walk(value) if isinstance(part, ast.Constant)}
    return any(getattr(value, "attr", "") == "modality" for value in asked) or (
        isinstance(node, ast.Compare) and bool(named & KINDS)
    )


def test_nobody_asks_which_kind_of_data_something_is() -> None:
    for file in SOURCE.rglob("*.py"):
        place = str(file.relative_to(SOURCE))
        if place.startswith("modalities/") or place == "core/spec.py":
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            assert not asks_for_a_kind(node), f"{place}:{node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize(
    "code",
    [
        'spec.modality == "image"', 'spec.modality in ("image", "sound")', 'kind != "text"', "NETWORKS[spec.modality]",
        "NETWORKS.get(spec.modality)", '{"image": 1, "vector": 2}', 'modality_of(spec).name == "waveform"',
    ],
)  # fmt: skip
def test_such_code_is_found(code: str) -> None:
    assert any(asks_for_a_kind(node) for node in ast.walk(ast.parse(code)))
