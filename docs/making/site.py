"""All pages and parts that are made, where links of the repository lead on the site, and which pages there are."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from genlab.core.plugins import load_plugins
from genlab.measure.figures import FIGURES
from genlab.runs.atomic import write_atomic
from making import choosing, gallery, models, notebooks, worth
from making.measured import RESULTS, comparisons
from making.text import ROOT, commands, opening, read_settings, table

DOCS = ROOT / "docs"
ROOMS = ("core", "modalities", "data", "networks", "models", "measure", "uses")
"""Rooms of the package whose classes and functions are described: those that a plug-in builds on."""

_LINK = re.compile(r"\]\((?P<path>(?:\.\./)+[^)#\s]+)(?P<anchor>#[^)]*)?\)")
_INCLUDED = re.compile(r"^```\{include\} \S*made/parts/(\w+)\.md", re.MULTILINE)


def write(folder: Path) -> None:
    """Write all pages below a folder, those that are the same left untouched, and remove what is no page any more."""
    load_plugins()
    pages = dict(_pages())
    for name, text in pages.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_text() != text:
            write_atomic(path, text)
    for path in folder.rglob("*.md"):
        if str(path.relative_to(folder)) not in pages:
            path.unlink()


def _pages() -> Iterator[tuple[str, str]]:
    yield "gallery.md", gallery.overview()
    for comparison in comparisons():
        yield f"gallery/{comparison.name}.md", gallery.page(comparison)
    yield "results.md", _rebased((RESULTS / "README.md").read_text(), RESULTS)
    yield from notebook_pages()
    yield "changes.md", (ROOT / "CHANGELOG.md").read_text()
    written = set(_INCLUDED.findall("\n".join(path.read_text() for path in (DOCS / "models").glob("*.md"))))
    for model in models.names():
        if model in written:
            yield f"parts/{model}.md", models.part(model)
        else:
            yield f"models/{model}.md", f"# `{model}`\n\n{models.part(model)}"
    yield "parts/choosing.md", choosing.part()
    for name, text in worth.parts().items():
        yield f"parts/{name}.md", text
    yield "parts/figures.md", _figures()
    yield "parts/data.md", _data()
    yield "parts/settings.md", _settings()
    yield "recipes.md", _recipes()
    for room in ROOMS:
        if (ROOT / "src" / "genlab" / room).is_dir():
            yield f"api/{room}.md", _api(room)


def notebook_pages() -> Iterator[tuple[str, str]]:
    """Yield the pages of the notebooks, with their names below `docs/made/`."""
    for path in notebooks.notebooks():
        yield f"notebooks/{path.stem}.md", _rebased(notebooks.page(path), notebooks.FOLDER, depth=3)


def others() -> list[str]:
    """Pages of `docs/` that its index does not name."""
    named = (DOCS / "index.md").read_text()
    found = sorted(path.stem for path in DOCS.glob("*.md") if path.name != "index.md")
    return [name for name in found if not re.search(rf"^(.*<)?{name}>?$", named, re.MULTILINE)]


def pages_of_models() -> list[str]:
    """Pages of models, those that are written and those that are made whole for models without one."""
    found = [*DOCS.glob("models/*.md"), *DOCS.glob("made/models/*.md")]
    return [str(path.relative_to(DOCS).with_suffix("")) for path in sorted(found, key=lambda path: path.stem)]


def linked(text: str, page: str) -> str:
    """Let links to files outside `docs/` lead to what the site has of them.

    Args:
        text: The page's source.
        page: Its name, as `models/flow`.
    """

    def turned(match: re.Match) -> str:
        target = (DOCS / page).parent.joinpath(match["path"]).resolve()
        anchor = match["anchor"] or ""
        for file, place in _places().items():
            if target == file:
                return f"]({place}{anchor})"
        return match[0]

    if page == "index":
        text = text.replace("<!-- other pages -->", "\n".join(others()))
        text = text.replace("<!-- models -->", "\n".join(pages_of_models()))
    return _LINK.sub(turned, text)


def _places() -> dict[Path, str]:
    places = {RESULTS / "README.md": "/made/results.md", ROOT / "CHANGELOG.md": "/made/changes.md"}
    places |= {found.folder / "comparison.md": found.page for found in comparisons()}
    places |= {path: f"/made/notebooks/{path.stem}.md" for path in notebooks.notebooks()}
    # Of a page that is made of a folder's files there is only the folder where pages are read beside the code.
    places |= {RESULTS: "/made/gallery.md", ROOT / "conf" / "experiment": "/made/recipes.md"}
    places |= {ROOT / "src" / "genlab" / room: f"/made/api/{room}.md" for room in ROOMS}
    return places | {ROOT / "README.md": "/index.md"}


def _rebased(text: str, folder: Path, depth: int = 2) -> str:
    """The text of a file outside `docs/`, its links as they are from a page so many folders below the repository."""

    def turned(match: re.Match) -> str:
        path = match[1]
        if path.startswith(("http", "#", "/", "data:")):
            return match[0]
        target = (folder / path).resolve()
        if target in _places():
            return f"]({_places()[target]})"
        if target.is_relative_to(DOCS):
            return f"](/{target.relative_to(DOCS)})"
        return f"]({'../' * depth}{target.relative_to(ROOT)})"

    return re.sub(r"\]\(([^)\s]+)\)", turned, text)


def _figures() -> str:
    rows = [
        (figure.label.replace("\n", " "), f"`{figure.key}`", figure.section, figure.better or "", figure.about)
        for figure in FIGURES.values()
        if figure.about
    ]
    return table(("figure", "key", "of", "better", "what it is"), rows)


def _data() -> str:
    rows = []
    for path in sorted((ROOT / "conf" / "data").glob("*.yaml")):
        rows.append((f"`data={path.stem}`", " ".join(opening(path.read_text()))))
    return table(("option", "what it is"), rows)


def _settings() -> str:
    text = (ROOT / "conf" / "config.yaml").read_text()
    kept = [found for found in read_settings(text) if not found.key.startswith(("hydra", "defaults"))]
    return table(("key", "default", "meaning"), [(f"`{key}`", f"`{value}`", comment) for key, value, comment in kept])


def _recipes() -> str:
    found = [entry for model in models.names() for entry in models.recipes(model)]
    head = "# Recipes\n\nEach is a file in `conf/experiment/` and a command; the same command goes on where it was.\n\n"
    return head + commands(["python train.py experiment=gan_mnist"]) + "\n" + models.recipe_table(sorted(found))


def _api(room: str) -> str:
    folder = ROOT / "src" / "genlab" / room
    parts = [f"# genlab.{room}\n"]
    for path in sorted(folder.rglob("*.py")):
        module = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
        if path.stem == "__init__" and "import" not in path.read_text():
            continue
        if path.stem.startswith("_") and path.stem != "__init__":
            continue
        heading = f"## {module.removeprefix('genlab.')}\n" if module != f"genlab.{room}" else ""
        parts.append(
            f"{heading}\n```{{eval-rst}}\n.. automodule:: {module}\n   :members:\n   :ignore-module-all:\n"
            "   :show-inheritance:\n```\n"
        )
    return "\n".join(parts)


if __name__ == "__main__":
    write(DOCS / "made")
    sys.exit(0)
