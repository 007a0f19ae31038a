"""The network by which a model draws as a program of its own, by torch.export: for software without genlab."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from genlab.core.contract import DrawsInSteps, Encodes
from genlab.core.errors import GenlabError
from genlab.modalities import modality_of
from genlab.models.base import GenerativeModel
from genlab.runs.atomic import atomic_file
from genlab.uses.sample import sample

__all__ = ["ProgramInfo", "require_network", "write_network"]

_TOLERANCE = 1e-4
"""Largest difference between what the program and the model give, over the largest value."""

_MADE_WITH, _CHECKED_ON = 3, (1, 5)
"""Examples in the batches with which a program is made, and on which it is compared.

The way from latents to data asks for a batch's size by ``x.shape[0]``: ``len(x)`` is a number, and a program that
it enters takes batches of no other.
"""

_MOST_PASSES = 100
"""Passes one after the other, as an autoregressive flow inverts: a program has each of them written out."""


class ProgramInfo(NamedTuple):
    """What is said of a program.

    Attributes:
        inputs: What it takes, in order, each by its name.
        output: What it gives.
        use: How one draws with it.
        difference: Largest absolute difference from what the model gives, of the batches on which that was compared.
        largest: Largest absolute value that the model gave there.
    """

    inputs: Mapping[str, str]
    output: str
    use: str
    difference: float = 0.0
    largest: float = 0.0


class _Program(nn.Module):
    def __init__(self, model: GenerativeModel, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.model = model  # so that its weights are the program's
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


class _Source(NamedTuple):
    """What a program is made of: a function of the model, inputs for so many examples, and what they are."""

    function: Callable[..., Tensor]
    inputs: Callable[[int], tuple[Tensor, ...]]
    info: ProgramInfo


def require_network(model: GenerativeModel) -> None:
    """Refuse a model that does not draw by one network of numbers to numbers.

    Raises:
        GenlabError: In a line that says so.
    """
    _source(model)


def write_network(path: Path, model: GenerativeModel) -> ProgramInfo:
    """Write the network of a model as a program, and return what is to be said of it.

    Of a model that draws by decoding latents, as VAEs, GANs and flows do, it takes latents ``z [N, Z]`` to
    data ``[N, *spec.shape]`` in its own units, as :meth:`genlab.core.contract.Encodes.decode`. Of one that draws in
    many steps it is a step's evaluation, :meth:`genlab.core.contract.DrawsInSteps.evaluate`: of states ``x [N, ...]``
    and times ``t [N]``. Labels ``y [N]`` of a class-conditional model come last. It takes any N, and is compared with
    the model on batches other than the one that it was made with.

    Args:
        path: The file, ``.pt2``.
        model: On the CPU, in eval mode.

    Raises:
        GenlabError: If PyTorch cannot make the program, or it computes otherwise than the model.
    """
    source = _source(model)
    batch = torch.export.Dim("batch", min=1, max=1_000_000)
    given = source.inputs(_MADE_WITH)
    try:
        dynamic = (tuple({0: batch} for _ in given),)
        program = torch.export.export(_Program(model, source.function), given, dynamic_shapes=dynamic)
    except Exception as error:  # of many kinds, each a page long
        raise GenlabError(
            f"network is true, but torch.export cannot make a program of this {model.name} ({type(error).__name__}). "
            "Leave network out."
        ) from error
    info = _compared(program.module(), source)
    if not info.difference <= _TOLERANCE * info.largest:
        raise GenlabError(f"network is true, but torch.export's program of this {model.name} errs. Leave network out.")
    for module in (part for part in program.graph_module.modules() if isinstance(part, torch.fx.GraphModule)):
        for node in module.graph.nodes:
            node.meta.pop("stack_trace", None)  # which names folders of this machine
    with atomic_file(path) as file, warnings.catch_warnings():
        # Said of weights that lie in one memory; a test reads them back.
        warnings.filterwarnings("ignore", "No complete tensor found")
        torch.export.save(program, file)
    return info


@torch.no_grad()
def _compared(program: nn.Module, source: _Source) -> ProgramInfo:
    differences, sizes = [], []
    for inputs in map(source.inputs, _CHECKED_ON):
        expected = source.function(*inputs)
        differences.append(float((program(*inputs) - expected).abs().max()))
        sizes.append(float(expected.abs().max()))
    return source.info._replace(difference=max(differences), largest=max(sizes))


def _source(model: GenerativeModel) -> _Source:
    found = None
    if not model.spec.has_mask and isinstance(model, DrawsInSteps):
        found = _step_of(model)
    elif _decodes_to_numbers(model) and model.nfe <= _MOST_PASSES:
        found = _decoder_of(model)
    if found is None:
        raise GenlabError(
            f"network is true, but this {model.name} does not draw by one network of numbers to numbers, of one "
            "length. Leave network out."
        )
    return found


def _decodes_to_numbers(model: GenerativeModel) -> bool:
    # Symbols are chosen one after the other, each by those before it: a program of that takes one size of batches.
    return isinstance(model, Encodes) and not model.spec.has_mask and modality_of(model.spec).has_order


def _step_of(model: Any) -> _Source | None:
    steps = model.stepping()
    if steps is None:
        return None
    first, last = steps.times
    x, t = f"{list(steps.shape)} after the batch: {steps.state}", f"{steps.time}, from {first:g} to {last:g}"
    info = ProgramInfo(
        {"x": x, "t": t, **_labels(model, "; no label is the number after the last")},
        steps.output,
        f"begin at t = {first:g} with standard normal noise times {steps.start:g}; {steps.equation}",
    )

    def at(count: int) -> tuple[Tensor, ...]:
        source = torch.Generator().manual_seed(count)
        x = torch.randn(count, *steps.shape, generator=source)
        return x, torch.lerp(torch.tensor(first), torch.tensor(last), torch.rand(count, generator=source))

    return _Source(model.evaluate, _with_labels(model, at), info)


def _decoder_of(model: Any) -> _Source:
    latents = _count_latents(model)
    info = ProgramInfo(
        {"z": f"[{latents}] after the batch: latents", **_labels(model)},
        f"data {list(model.spec.shape)} after the batch, in its own units, not rounded",
        "z is standard normal noise; of a VAE it is drawn from the prior, which may be a learned one",
    )
    return _Source(model.decode, _with_labels(model, lambda count: (_noise(count, latents),)), info)


def _labels(model: GenerativeModel, more: str = "") -> dict[str, str]:
    return {"y": f"int64, the label, 0 to {model.num_classes - 1}{more}"} if model.conditional else {}


def _with_labels(
    model: GenerativeModel, inputs: Callable[[int], tuple[Tensor, ...]]
) -> Callable[[int], tuple[Tensor, ...]]:
    if not model.conditional:
        return inputs
    return lambda count: (*inputs(count), torch.arange(count) % model.num_classes)


def _noise(count: int, latents: int) -> Tensor:
    return torch.randn(count, latents, generator=torch.Generator().manual_seed(count))


def _count_latents(model: Any) -> int:
    labels = torch.zeros(1, dtype=torch.int64, device=model.device) if model.conditional else None
    (x,) = sample(model, 1, label=0 if model.conditional else None)
    return model.encode(x.to(model.device), labels).shape[1]
