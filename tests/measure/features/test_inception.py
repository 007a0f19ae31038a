"""The network of published FIDs: its shape, its resize against a loop, and the files that it takes or refuses."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from genlab.core.errors import GenlabError
from genlab.measure.features.inception import FEATURES, InceptionV3, load_inception, resize_as_tensorflow

REFERENCE = [0.1057272, 0.7514849, 0.0, 0.2324423, 25.2116966, 6.8988843, 6.9063554]


@pytest.fixture(scope="module")
def network() -> InceptionV3:
    """Weights by chance, of sizes that keep features from fading on their way through the network."""
    network, generator = InceptionV3().eval(), torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data.copy_(noise * (2 / parameter[0].numel()) ** 0.5 if parameter.ndim > 1 else 1 + 0.1 * noise)
    return network.requires_grad_(False)


@pytest.fixture(scope="module")
def weights(network: InceptionV3, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save(network.state_dict(), path)
    return path


def resized_by_loops(image: np.ndarray, height: int, width: int) -> np.ndarray:
    old_height, old_width = image.shape
    result = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            y, x = i * old_height / height, j * old_width / width
            top, left = int(y), int(x)
            bottom, right = min(top + 1, old_height - 1), min(left + 1, old_width - 1)
            upper = image[top, left] * (1 - (x - left)) + image[top, right] * (x - left)
            lower = image[bottom, left] * (1 - (x - left)) + image[bottom, right] * (x - left)
            result[i, j] = upper * (1 - (y - top)) + lower * (y - top)
    return result


@pytest.mark.parametrize("size", [(13, 17), (3, 4), (5, 7)], ids=["larger", "smaller", "the same"])
def test_the_resize_equals_a_loop_over_pixels(size: tuple[int, int]) -> None:
    images = torch.randint(256, (2, 3, 5, 7), generator=torch.Generator().manual_seed(0)).float()
    found = resize_as_tensorflow(images, *size)
    assert found.shape == (2, 3, *size)
    for image, result in zip(images.flatten(0, 1), found.flatten(0, 1), strict=True):
        np.testing.assert_allclose(result.numpy(), resized_by_loops(image.double().numpy(), *size), atol=1e-3)


def test_shapes_and_number_of_weights(network: InceptionV3) -> None:
    assert sum(p.numel() for p in network.parameters()) == 23_850_960
    names = set(network.state_dict())
    assert {"Conv2d_1a_3x3.conv.weight", "Mixed_5b.branch1x1.conv.weight", "Mixed_7c.branch3x3dbl_3b.bn.bias"} <= names
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 299, 299)).shape == (1, 1008)
    assert {module.eps for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)} == {1e-3}


def test_both_formats_give_the_features_of_the_network(network: InceptionV3, weights: Path, tmp_path: Path) -> None:
    images = torch.randint(256, (2, 3, 20, 20), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    extractor = load_inception(weights)
    assert extractor.sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    with torch.no_grad():
        expected = network.features((resize_as_tensorflow(images.float(), 299, 299) - 128) / 128)
    torch.testing.assert_close(extractor(images, 256), expected)
    assert expected.shape == (2, FEATURES)
    # As in files that were made before batches were counted.
    old = {name: value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    save_file(old, tmp_path / "weights.safetensors")
    torch.testing.assert_close(load_inception(tmp_path / "weights.safetensors")(images, 256), expected)


def test_features_are_those_of_the_reference(weights: Path) -> None:
    """The numbers are those of torch-fidelity 0.4.0, with the same weights and images."""
    images = torch.randint(256, (2, 3, 32, 24), generator=torch.Generator().manual_seed(2)).to(torch.uint8)
    features = load_inception(weights)(images, 256)
    found = torch.cat([features[0, [0, 400, 900, 1300, 1900]], features.mean(1)])
    torch.testing.assert_close(found, torch.tensor(REFERENCE), rtol=1e-4, atol=1e-4)


def test_levels_are_stretched_and_gray_images_repeated(weights: Path) -> None:
    extractor = load_inception(weights)
    gray = torch.tensor([0, 1, 8, 16], dtype=torch.uint8).view(1, 1, 2, 2)
    colour = torch.tensor([0, 16, 128, 255], dtype=torch.uint8).view(1, 1, 2, 2).expand(1, 3, 2, 2)
    torch.testing.assert_close(extractor(gray, 17), extractor(colour, 256))
    with pytest.raises(ValueError, match="1 or 3 channels, not 2"):
        extractor(torch.zeros(1, 2, 2, 2, dtype=torch.uint8), 256)


def without_a_layer(state: dict[str, Tensor]) -> object:
    return {name: value for name, value in state.items() if not name.startswith("Mixed_7c.branch_pool")}


WRONG: dict[str, tuple[Callable[[dict[str, Tensor]], object], str]] = {
    "a layer is missing": (without_a_layer, "it has no Mixed_7c.branch_pool"),
    "another layer": (lambda state: state | {"AuxLogits.fc.bias": torch.zeros(1)}, "it has AuxLogits.fc.bias"),
    "ImageNet's classes": (lambda state: state | {"fc.bias": torch.zeros(1000)}, r"fc.bias is float32 \[1000\]"),
    "half precision": (lambda state: state | {"fc.bias": state["fc.bias"].half()}, "fc.bias is float16"),
    "no state dict": (lambda state: [1, 2], "cannot be read as weights"),
    "a module": (lambda state: torch.nn.Linear(1, 1), "cannot be read as weights"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_another_file_is_refused_in_one_line(network: InceptionV3, tmp_path: Path, kind: str) -> None:
    change, words = WRONG[kind]
    torch.save(change(dict(network.state_dict())), tmp_path / "w.pth")
    with pytest.raises(GenlabError, match=words) as refused:
        load_inception(tmp_path / "w.pth")
    assert "\n" not in str(refused.value)
    assert "github.com/mseitzer/pytorch-fid" in str(refused.value)


def test_a_missing_file_and_one_that_is_no_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GenlabError, match=r"which is no file\. Expected pt_inception-2015-12-05-6726825d\.pth"):
        load_inception(tmp_path / "nothing.pth")
    for name in ("a.pth", "a.safetensors"):
        (tmp_path / name).write_bytes(b"<html>Not Found</html>")
        with pytest.raises(GenlabError, match="cannot be read as weights"):
            load_inception(tmp_path / name)
