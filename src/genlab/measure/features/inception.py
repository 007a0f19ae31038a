"""The Inception-v3 network of published FIDs, and its features of images.

Szegedy et al. (2016), "Rethinking the Inception architecture for computer vision", in the form that was released for
TensorFlow on 2015-12-05 and that Heusel et al. (2017) chose for the FID. It departs from the later Inception-v3 in
that it has 1,008 outputs, that averages leave padding out, and that the last block pools by the maximum.

Its weights do not come with this package. They are the file ``pt_inception-2015-12-05-6726825d.pth`` (95 MB; its
SHA-256 begins with 6726825d) of the releases of github.com/mseitzer/pytorch-fid, a conversion of TensorFlow's.
"""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from genlab.core.errors import GenlabError

__all__ = ["FEATURES", "InceptionExtractor", "InceptionV3", "load_inception", "resize_as_tensorflow"]

FEATURES = 2048
SIZE = 299
"""Height and width of the images that the network sees."""

_WHERE = "Expected pt_inception-2015-12-05-6726825d.pth, from the releases of github.com/mseitzer/pytorch-fid."


class _Convolution(nn.Module):
    """Convolution, batch normalization with the file's epsilon, rectifier."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int | tuple[int, int], stride: int = 1, same: bool = True
    ) -> None:
        super().__init__()
        kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = tuple(size // 2 if same else 0 for size in kernel)
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


def _average(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def _largest(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 3, stride=1, padding=1)


def _halved(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 3, stride=2)


class _Mixed35(nn.Module):
    """Block at 35 x 35: after figure 5 of the paper, but with one 5 x 5 convolution."""

    def __init__(self, inputs: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = _Convolution(inputs, 64, 1)
        self.branch5x5_1 = _Convolution(inputs, 48, 1)
        self.branch5x5_2 = _Convolution(48, 64, 5)
        self.branch3x3dbl_1 = _Convolution(inputs, 64, 1)
        self.branch3x3dbl_2 = _Convolution(64, 96, 3)
        self.branch3x3dbl_3 = _Convolution(96, 96, 3)
        self.branch_pool = _Convolution(inputs, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        wide = self.branch5x5_2(self.branch5x5_1(x))
        return torch.cat([self.branch1x1(x), wide, double, self.branch_pool(_average(x))], 1)


class _Reduction35(nn.Module):
    """From 35 x 35 to 17 x 17: after figure 10 of the paper."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = _Convolution(inputs, 384, 3, stride=2, same=False)
        self.branch3x3dbl_1 = _Convolution(inputs, 64, 1)
        self.branch3x3dbl_2 = _Convolution(64, 96, 3)
        self.branch3x3dbl_3 = _Convolution(96, 96, 3, stride=2, same=False)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, _halved(x)], 1)


class _Mixed17(nn.Module):
    """Block at 17 x 17, with 7 x 7 convolutions in two steps: after figure 6 of the paper."""

    def __init__(self, inputs: int, inner: int) -> None:
        super().__init__()
        flat, tall = (1, 7), (7, 1)
        self.branch1x1 = _Convolution(inputs, 192, 1)
        self.branch7x7_1 = _Convolution(inputs, inner, 1)
        self.branch7x7_2 = _Convolution(inner, inner, flat)
        self.branch7x7_3 = _Convolution(inner, 192, tall)
        self.branch7x7dbl_1 = _Convolution(inputs, inner, 1)
        self.branch7x7dbl_2 = _Convolution(inner, inner, tall)
        self.branch7x7dbl_3 = _Convolution(inner, inner, flat)
        self.branch7x7dbl_4 = _Convolution(inner, inner, tall)
        self.branch7x7dbl_5 = _Convolution(inner, 192, flat)
        self.branch_pool = _Convolution(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), single, double, self.branch_pool(_average(x))], 1)


class _Reduction17(nn.Module):
    """From 17 x 17 to 8 x 8."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3_1 = _Convolution(inputs, 192, 1)
        self.branch3x3_2 = _Convolution(192, 320, 3, stride=2, same=False)
        self.branch7x7x3_1 = _Convolution(inputs, 192, 1)
        self.branch7x7x3_2 = _Convolution(192, 192, (1, 7))
        self.branch7x7x3_3 = _Convolution(192, 192, (7, 1))
        self.branch7x7x3_4 = _Convolution(192, 192, 3, stride=2, same=False)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), self.branch7x7x3_4(double), _halved(x)], 1)


class _Mixed8(nn.Module):
    """Block at 8 x 8, with branches that fork: after figure 7 of the paper."""

    def __init__(self, inputs: int, averages: bool) -> None:
        super().__init__()
        self.pool = _average if averages else _largest
        self.branch1x1 = _Convolution(inputs, 320, 1)
        self.branch3x3_1 = _Convolution(inputs, 384, 1)
        self.branch3x3_2a = _Convolution(384, 384, (1, 3))
        self.branch3x3_2b = _Convolution(384, 384, (3, 1))
        self.branch3x3dbl_1 = _Convolution(inputs, 448, 1)
        self.branch3x3dbl_2 = _Convolution(448, 384, 3)
        self.branch3x3dbl_3a = _Convolution(384, 384, (1, 3))
        self.branch3x3dbl_3b = _Convolution(384, 384, (3, 1))
        self.branch_pool = _Convolution(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single, double = self.branch3x3_1(x), self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        forks = [self.branch3x3_2a(single), self.branch3x3_2b(single)]
        forks += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)]
        return torch.cat([self.branch1x1(x), *forks, self.branch_pool(self.pool(x))], 1)


class InceptionV3(nn.Module):
    """The network, with the names of the known file."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Convolution(3, 32, 3, stride=2, same=False)
        self.Conv2d_2a_3x3 = _Convolution(32, 32, 3, same=False)
        self.Conv2d_2b_3x3 = _Convolution(32, 64, 3)
        self.Conv2d_3b_1x1 = _Convolution(64, 80, 1)
        self.Conv2d_4a_3x3 = _Convolution(80, 192, 3, same=False)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = _Mixed35(192, 32), _Mixed35(256, 64), _Mixed35(288, 64)
        self.Mixed_6a = _Reduction35(288)
        self.Mixed_6b, self.Mixed_6c = _Mixed17(768, 128), _Mixed17(768, 160)
        self.Mixed_6d, self.Mixed_6e = _Mixed17(768, 160), _Mixed17(768, 192)
        self.Mixed_7a = _Reduction17(768)
        self.Mixed_7b, self.Mixed_7c = _Mixed8(1280, averages=True), _Mixed8(FEATURES, averages=False)
        self.fc = nn.Linear(FEATURES, 1008)

    def features(self, images: Tensor) -> Tensor:
        """Map images ``[N, 3, 299, 299]`` in [-1, 1] to features ``[N, 2048]``."""
        h = _halved(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(images))))
        h = _halved(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(h)))
        for block in (self.Mixed_5b, self.Mixed_5c, self.Mixed_5d, self.Mixed_6a, self.Mixed_6b, self.Mixed_6c,
                      self.Mixed_6d, self.Mixed_6e, self.Mixed_7a, self.Mixed_7b, self.Mixed_7c):  # fmt: skip
            h = block(h)
        return h.mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``[N, 3, 299, 299]`` in [-1, 1] to logits ``[N, 1008]``."""
        return self.fc(self.features(images))


def resize_as_tensorflow(images: Tensor, height: int, width: int) -> Tensor:
    """Resize ``[N, C, H, W]`` of floats to ``[N, C, height, width]`` by bilinear interpolation as TensorFlow 1 did.

    Pixel ``i`` of the result lies at ``i * old / new``, not at the middle of its share as in
    ``torch.nn.functional.interpolate``, so that images move by up to half a pixel; and nothing is smoothed before a
    reduction. Published FIDs rest on both.
    """
    for axis, size in ((2, height), (3, width)):
        old = images.shape[axis]
        places = torch.arange(size, dtype=torch.float32, device=images.device) * (old / size)
        below = places.long()
        weights = (places - below).view(-1, *[1] * (3 - axis)).to(images.dtype)
        first = images.index_select(axis, below)
        second = images.index_select(axis, (below + 1).clamp_max(old - 1))
        images = first + (second - first) * weights
    return images


class InceptionExtractor:
    """A frozen network under the checksum of its file; no module, so that it never becomes part of one.

    Args:
        network: The network.
        sha256: Checksum of its file.
        device: Where it runs.
    """

    def __init__(self, network: InceptionV3, sha256: str, device: torch.device | None = None) -> None:
        self.sha256 = sha256
        self._device = device or torch.device("cpu")
        self._network = network.to(self._device).eval().requires_grad_(False)

    @torch.no_grad()
    def __call__(self, x: Tensor, levels: int, batch_size: int = 50) -> Tensor:
        """Return the features ``[N, 2048]``, float32, on the CPU, of discrete images.

        Levels are stretched over 0 to 255 and rounded, gray images become three equal channels, and what is resized
        are floats, as TensorFlow did it.

        Args:
            x: ``[N, C, H, W]``, integers in ``[0, levels)``, of one or three channels.
            levels: Number of values per dimension.
            batch_size: Images per pass.
        """
        if x.shape[1] not in (1, 3):
            raise ValueError(f"Images must have 1 or 3 channels, not {x.shape[1]}.")
        features = []
        for part in x.split(batch_size):
            values = part.to(self._device, torch.float32)
            if levels != 256:
                values = (values * (255 / (levels - 1))).round()
            images = resize_as_tensorflow(values, SIZE, SIZE).expand(-1, 3, -1, -1)
            features.append(self._network.features((images - 128) / 128).cpu())
        return torch.cat(features)


def load_inception(path: Path | str, device: torch.device | None = None) -> InceptionExtractor:
    """Open the network's weights, a state dict in PyTorch's format or in safetensors, and check that they fit.

    Nothing is unpickled but tensors.

    Args:
        path: The file; ``.safetensors`` is read as such, any other as PyTorch's.
        device: Where the network runs; the CPU by default.

    Raises:
        GenlabError: If the file is missing, unreadable or of another network.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise GenlabError(f"evaluation.inception_weights is {path}, which is no file. {_WHERE}")
    try:
        weights = load_file(path) if path.suffix == ".safetensors" else _load_pytorch(path)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, RuntimeError, ValueError, EOFError, SafetensorError, pickle.UnpicklingError) as error:
        reason = f"which cannot be read as weights ({type(error).__name__})"
        raise GenlabError(f"evaluation.inception_weights is {path}, {reason}. {_WHERE}") from error
    with torch.device("meta"):
        network = InceptionV3()
    problem = _misfit(weights, network.state_dict())
    if problem:
        raise GenlabError(f"evaluation.inception_weights is {path}, which is another network: {problem}. {_WHERE}")
    # Counters of training batches stand in some files only, and mean nothing here.
    counters = {name: torch.tensor(0) for name in network.state_dict() if name.endswith("num_batches_tracked")}
    network.load_state_dict({**counters, **weights}, assign=True)
    return InceptionExtractor(network, sha256, device)


def _load_pytorch(path: Path) -> dict[str, Tensor]:
    weights = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise ValueError("no state dict")
    return dict(weights)


def _misfit(weights: dict[str, Tensor], expected: dict[str, Tensor]) -> str:
    """Say how weights differ from the expected ones in names, shapes and types; empty if they do not."""
    needed = {name for name in expected if not name.endswith("num_batches_tracked")}
    for name in sorted(needed - weights.keys()):
        return f"it has no {name}"
    for name in sorted(weights.keys() - expected.keys()):
        return f"it has {name}"
    for name in sorted(needed):
        if weights[name].shape != expected[name].shape or weights[name].dtype != torch.float32:
            found = f"{weights[name].dtype} {list(weights[name].shape)}".removeprefix("torch.")
            return f"{name} is {found}, expected float32 {list(expected[name].shape)}"
    return ""
