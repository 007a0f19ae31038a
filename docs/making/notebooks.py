"""The notebooks as pages: their words, their code, and the outputs that are stored in them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from making.text import ROOT

__all__ = ["FOLDER", "notebooks", "page"]

FOLDER = ROOT / "notebooks"


def notebooks() -> list[Path]:
    """Return all notebooks."""
    return sorted(FOLDER.glob("*.ipynb"))


def page(path: Path) -> str:
    """Return a notebook as Markdown, its links as they are from its own folder.

    Args:
        path: The notebook, with its outputs.
    """
    parts: list[str] = []
    for cell in json.loads(path.read_text())["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
        else:
            parts += [_fenced("python", source), *(part for output in cell["outputs"] for part in _shown(output))]
        if len(parts) == 1:  # below the title
            parts.append(f"*This is `notebooks/{path.name}` as it was run. Open it in Jupyter to run it yourself.*")
    return "\n\n".join(parts) + "\n"


def _shown(output: Mapping[str, Any]) -> Iterator[str]:
    if output["output_type"] == "stream":
        yield _fenced("text", "".join(output["text"]))
    elif "image/png" in (found := output.get("data", {})):
        yield f"![](data:image/png;base64,{''.join(found['image/png'].split())})"
    elif "text/html" in found:
        yield "".join(found["text/html"]).strip()
    elif "text/plain" in found:
        yield _fenced("text", "".join(found["text/plain"]))


def _fenced(language: str, text: str) -> str:
    return f"```{language}\n{text.strip(chr(10))}\n```"
