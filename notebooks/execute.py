"""Execute the notebooks, each in a fresh kernel and an empty folder, and keep what came out in them.

python notebooks/execute.py                          # all of them, about two minutes each on two cores
python notebooks/execute.py notebooks/anomalies.ipynb

Their outputs are committed, so that a reader sees them without running anything. Stored with them is a checksum of all
code cells, by which `tests/test_notebooks.py` knows that they came from this code. Run it again after a change of a
code cell, or of what a notebook shows.
"""

from __future__ import annotations

import copy
import hashlib
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from genlab.runs.atomic import write_atomic

__all__ = ["checksum", "execute", "kept", "notebooks", "with_parameters"]

FOLDER = Path(__file__).parent
LONGEST_START = 600
"""Seconds until a kernel answers; a cell may take as long as it likes."""
LARGEST = 300_000
"""Bytes of a notebook with its outputs."""
_PROGRESS = re.compile(r"^( *(\d+|--)%  .*\n?|.*TqdmWarning: IProgress not found.*\n.*\n?)", re.MULTILINE)
"""Lines of how far a training is, which say nothing afterwards, and that there are no widgets for that."""


def notebooks() -> list[Path]:
    """Return the notebooks of this folder."""
    return sorted(FOLDER.glob("*.ipynb"))


def with_parameters(notebook: nbformat.NotebookNode, parameters: Mapping[str, Any]) -> nbformat.NotebookNode:
    """Return a copy with other values of parameters, in a cell after the one that has the tag ``parameters``.

    This is what papermill does.

    Args:
        notebook: As it was read.
        parameters: Values by name; only names that the tagged cell sets.

    Raises:
        ValueError: If that cell does not set a name.
    """
    changed = copy.deepcopy(notebook)
    place = next(i for i, cell in enumerate(changed.cells) if "parameters" in cell.metadata.get("tags", ()))
    known = re.findall(r"^(\w+) =", changed.cells[place].source, re.MULTILINE)
    if unknown := parameters.keys() - set(known):
        raise ValueError(f"The notebook has the parameters {', '.join(known)}, and no {', '.join(sorted(unknown))}.")
    lines = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
    injected = nbformat.v4.new_code_cell(lines, metadata={"tags": ["injected-parameters"]}, id="injected")
    changed.cells.insert(place + 1, injected)
    return changed


def execute(notebook: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    """Execute a notebook in a fresh kernel and return it with its outputs.

    Args:
        notebook: As it was read; not changed.
        folder: Where its files go.

    Raises:
        nbclient.exceptions.CellExecutionError: If a cell fails.
    """
    executed = copy.deepcopy(notebook)
    client = NotebookClient(
        executed,
        kernel_name="python3",
        timeout=None,
        startup_timeout=LONGEST_START,
        record_timing=False,
        extra_arguments=["--IPKernelApp.log_level=40"],  # it would warn that it listens to this machine's programs
    )
    client.execute(cwd=str(folder))
    for cell in executed.cells:
        if cell.cell_type == "code":
            cell.outputs = list(kept(cell.outputs))
    executed.metadata["genlab"] = {"code_sha256": checksum(executed)}
    executed.metadata["language_info"] = {"name": "python"}  # and not the version of this Python
    return executed


def checksum(notebook: nbformat.NotebookNode) -> str:
    """Return the SHA-256 of all code cells."""
    code = "\0".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    return hashlib.sha256(code.encode()).hexdigest()


def kept(outputs: Sequence[nbformat.NotebookNode]) -> Iterator[nbformat.NotebookNode]:
    """Yield outputs without the lines of how far a training was; warnings stay."""
    for output in outputs:
        if output.output_type == "stream" and output.name == "stderr":
            output.text = _PROGRESS.sub("", output.text)
            if not output.text.strip():
                continue
        yield output


def main(arguments: Sequence[str]) -> int:
    """Execute the notebooks that are named, or all."""
    for path in [Path(argument) for argument in arguments] or notebooks():
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            executed = execute(nbformat.read(path, as_version=4), Path(folder))
        text = nbformat.writes(executed) + "\n"
        if len(text.encode()) > LARGEST:
            print(f"{path} would have {len(text.encode()):,} bytes, expected at most {LARGEST:,}.", file=sys.stderr)
            return 1
        write_atomic(path, text)
        print(f"{path}: {len(text.encode()):,} bytes, {time.monotonic() - began:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
