"""The way from latents to data as a program of its own, by torch.export: for software without genlab."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from genlab.core.contract import Encodes
from genlab.core.errors import GenlabError
from genlab.models.base import GenerativeModel
from genlab.runs.atomic import atomic_file
from genlab.uses.sample import sample

__all__ = ["require_decoder", "write_decoder"]

_TOLERANCE = 1e-4
"""Largest difference between what the program and the model decode, over the largest value."""


class _Decoder(nn.Module):
    def __init__(self, model: GenerativeModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.model.decode(z, y)


def require_decoder(model: GenerativeModel) -> None:
    """Refuse a model that does not make data of latents by one evaluation of its network.

    Raises:
        GenlabError: In a line that says so.
    """
    if not isinstance(model, Encodes) or model.nfe != 1 or model.spec.has_mask:
        raise GenlabError(
            f"decoder is true, but this {model.name} does not make data of latents in one step of one length. "
            "Leave decoder out."
        )


def write_decoder(path: Path, model: GenerativeModel) -> None:
    """Write the program that takes latents ``z [N, Z]``, and labels ``y [N]`` of a class-conditional model, to data.

    It gives what :meth:`genlab.core.contract.Encodes.decode` does, ``[N, *spec.shape]`` in the data's own units, for
    any N; that is checked on latents other than those it was made with.

    Args:
        path: The file, ``.pt2``.
        model: On the CPU, in eval mode.

    Raises:
        GenlabError: If PyTorch cannot make the program, or it decodes otherwise than the model.
    """
    require_decoder(model)
    latents = _count_latents(model)
    batch = torch.export.Dim("batch", min=1, max=1_000_000)
    given, others = (_examples(model, count, latents) for count in (3, 5))
    try:
        program = torch.export.export(_Decoder(model), given, dynamic_shapes=tuple({0: batch} for _ in given))
    except Exception as error:  # of many kinds, each a page long
        raise GenlabError(
            f"decoder is true, but torch.export cannot make a program of this {model.name} ({type(error).__name__}). "
            "Leave decoder out."
        ) from error
    found, expected = program.module()(*others), model.decode(*others)
    if (found - expected).abs().max() > _TOLERANCE * expected.abs().max():
        raise GenlabError(f"decoder is true, but torch.export's program of this {model.name} errs. Leave decoder out.")
    for module in (part for part in program.graph_module.modules() if isinstance(part, torch.fx.GraphModule)):
        for node in module.graph.nodes:
            node.meta.pop("stack_trace", None)  # which names folders of this machine
    with atomic_file(path) as file, warnings.catch_warnings():
        # Said of weights that lie in one memory; a test reads them back.
        warnings.filterwarnings("ignore", "No complete tensor found")
        torch.export.save(program, file)


def _count_latents(model: GenerativeModel) -> int:
    assert isinstance(model, Encodes)
    labels = torch.zeros(1, dtype=torch.int64) if model.conditional else None
    (x,) = sample(model, 1, label=0 if model.conditional else None)
    return model.encode(x, labels).shape[1]


def _examples(model: GenerativeModel, count: int, latents: int) -> tuple[Tensor, ...]:
    z = torch.randn(count, latents, generator=torch.Generator().manual_seed(count))
    return (z, torch.arange(count) % model.num_classes) if model.conditional else (z,)
