"""All kinds of data by their names."""

from __future__ import annotations

from genlab.core.errors import GenlabError, nearest
from genlab.core.spec import DataSpec
from genlab.modalities.base import Layout, Modality

__all__ = ["all_modalities", "has_layout", "modality_of", "register", "require_grid"]

_MODALITIES: dict[str, Modality] = {}


def register(modality: Modality) -> None:
    """Add a kind of data; what has its name already is replaced."""
    _MODALITIES[modality.name] = modality


def all_modalities() -> tuple[Modality, ...]:
    """Return all kinds of data that are registered."""
    return tuple(_MODALITIES.values())


def modality_of(spec: DataSpec) -> Modality:
    """Return the kind of data that a data set is of.

    Raises:
        GenlabError: If no such kind is registered, or an example has not its number of axes.
    """
    found = _MODALITIES.get(spec.modality)
    if found is None:
        names = ", ".join(_MODALITIES)
        raise GenlabError(
            f"The modality of {spec.name} is '{spec.modality}', expected one of {names}."
            f"{nearest(spec.modality, _MODALITIES)}"
        )
    if len(spec.shape) != len(found.axes):
        raise GenlabError(
            f"The shape of {spec.name} is {spec.shape}, but {found.name} data has the axes ({', '.join(found.axes)})."
        )
    return found


def has_layout(spec: DataSpec, layout: Layout) -> bool:
    """Return whether networks can see such data in a layout."""
    return layout in modality_of(spec).layouts


def require_grid(what: str, spec: DataSpec, instead: str) -> None:
    """Refuse data that is not laid out as a grid.

    Args:
        what: What needs a grid, e.g. ``"network=conv"``.
        spec: What one example is.
        instead: What to do, a sentence.

    Raises:
        GenlabError: If it is not.
    """
    if not has_layout(spec, "grid"):
        raise GenlabError(f"{what} needs images, but {spec.name} is {spec.modality}. {instead}")
