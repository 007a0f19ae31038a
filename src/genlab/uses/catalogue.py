"""The uses of a trained model: what each needs of a model, and what is said of one that lacks it."""

from __future__ import annotations

from dataclasses import dataclass

from genlab.core.contract import Encodes, Inpaints
from genlab.core.errors import GenlabError
from genlab.models.base import GenerativeModel

__all__ = ["USES", "Use", "require"]


@dataclass(frozen=True)
class Use:
    """One use.

    Attributes:
        name: That of its command.
        about: What it does, a clause.
        needs: The protocol of :mod:`genlab.core.contract` that a model must have; None: every model can.
        lack: What a model is without, that cannot, and what to use, two clauses.
    """

    name: str
    about: str
    needs: type | None = None
    lack: str = ""

    def can(self, family: type) -> bool:
        """Whether the models of a family can be used so."""
        return self.needs is None or issubclass(family, self.needs)


_NO_CODE = "it has no code of an example that could be decoded. Use a vae, a flow, diffusion, flow_matching or a gan."
_NO_REST = (
    "it says nothing of a part of an example given the rest. Use a gmm, an autoregressive model, a flow, a vae or "
    "diffusion."
)

USES = {
    use.name: use
    for use in (
        Use("sample", "draw new examples"),
        Use("reconstruct", "encode examples and decode them again", Encodes, _NO_CODE),
        Use("interpolate", "go from one example to another through codes", Encodes, _NO_CODE),
        Use("traverse", "change one latent at a time", Encodes, _NO_CODE),
        Use("detect", "score how unusual examples are"),
        Use("inpaint", "fill in the rest of an example, given a part", Inpaints, _NO_REST),
    )
}
"""All uses by their names."""


def require(name: str, model: GenerativeModel) -> None:
    """Refuse a model that cannot be used so.

    Raises:
        GenlabError: In a line that says what it lacks and which can.
    """
    use = USES[name]
    if not use.can(type(model)):
        raise GenlabError(f"The {model.family} family cannot {name}: {use.lack}")
