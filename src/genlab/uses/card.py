"""The card of an export, for people: what it is, what its figures are, its data, and how it is loaded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import yaml

from genlab.comparison.markdown import to_markdown
from genlab.comparison.ranking import compare
from genlab.comparison.reading import reduce_result
from genlab.comparison.visible import visible
from genlab.core.words import counted, measured
from genlab.measure.result import Result
from genlab.models.base import GenerativeModel
from genlab.runs.exports import NETWORK, Export
from genlab.uses.network import ProgramInfo

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["THIS_FOLDER", "write_out"]

THIS_FOLDER = "<this folder>"
"""What a card says for the place of an export that may be moved to any."""


def write_out(
    export: Export,
    model: GenerativeModel,
    results: Iterable[Result],
    where: str,
    picture: str | None = None,
    program: ProgramInfo | None = None,
) -> str:
    """Return the text of a card, in Markdown with a head as the Hub reads it.

    Args:
        export: The index.
        model: What was loaded of the export.
        results: What was measured of it, and the floors beside it.
        where: What `genlab.load_run` is given to load it.
        picture: Path of its picture of samples in the folder.
        program: What is to be said of its network as a program, where that is there.
    """
    head = {"library_name": "genlab", "tags": ["generative-model", model.family, model.spec.modality]}
    head |= {"license": export.licence} if export.licence else {}
    rows = [reduce_result(result) for result in results]
    text = _template().render(
        head=yaml.safe_dump(head, sort_keys=False),
        export=export,
        model=model,
        spec=model.spec,
        where=where,
        table=to_markdown(compare(rows)).replace("## ", "### ") if rows else "",
        picture=picture,
        program=program,
        network=NETWORK,
        took=export.training.progress,
        counted=counted,
        measured=measured,
    )
    return "".join(f"{visible(line)}\n" for line in text.split("\n")).rstrip("\n") + "\n"


def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("genlab.uses"),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("card.md.j2")
