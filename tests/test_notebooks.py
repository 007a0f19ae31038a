"""The notebooks run from the first cell to the last, and what is stored in them came from the code that they have."""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

from tests import forkserver
from tests.test_documentation import site
from tests.tiny import ROOT

EXECUTE = SimpleNamespace(**runpy.run_path(str(ROOT / "notebooks" / "execute.py")))
NOTEBOOKS = EXECUTE.notebooks()

SHORT = ["trainer=cpu", "budget.validations=1", "validation_samples=null", "evaluation.num_samples=100"]
SMALL = {"gmm": ["model.components=5", "model.em_steps=2"], "vae": ["model.conv.channels=[4, 8]"]}
TABLES = {"forest": ["model=forest", "model.trees=3"], "vae": ["model=vae", "model.mlp.hidden=[16]"]}
TINY = {
    "anomalies": {"examples": 256, "more": SHORT},
    "compare_pictures": {"examples": 128, "families": SMALL, "more": SHORT},
    "table_privacy": {"examples": 256, "families": TABLES, "chosen": "forest", "more": SHORT},
}
"""Parameters with which a notebook takes seconds."""
IN_A_KERNEL = "compare_pictures"
"""The notebook that is executed as a user does it: a kernel needs five seconds for its imports alone."""

CELLS = """
import json, sys
cells, tiny = json.loads(sys.argv[1])
namespace = {"__name__": "__main__"}
for name, source in cells:
    exec(compile(source, f"cell {name}", "exec"), namespace)
    if name == "parameters":
        assert tiny.keys() <= namespace.keys(), "a parameter has another name"
        namespace.update(tiny)
"""
"""Executes code cells one after the other, as a kernel does, in a process that has its imports done."""


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def text_of(notebook: nbformat.NotebookNode) -> str:
    """All that the outputs of a notebook say in words."""
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    return "\n".join(output.get("text", "") + output.get("data", {}).get("text/plain", "") for output in outputs)


def run_in_a_fork(name: str, folder: Path) -> str:
    """Execute the cells of a notebook in a folder and return what they printed."""
    cells = [(cell.id, cell.source) for cell in code_cells(read(ROOT / "notebooks" / f"{name}.ipynb"))]
    command = [sys.executable, "-c", CELLS, json.dumps([cells, TINY[name]])]
    done = forkserver.run(command, cwd=folder, timeout=250)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_each_is_tried() -> None:
    assert sorted(TINY) == [path.stem for path in NOTEBOOKS]


def test_pictures_in_a_fresh_kernel(tmp_path: Path) -> None:
    notebook = read(ROOT / "notebooks" / f"{IN_A_KERNEL}.ipynb")
    executed = EXECUTE.execute(EXECUTE.with_parameters(notebook, TINY[IN_A_KERNEL]), tmp_path)
    assert "floor" in text_of(executed)
    for family in SMALL:
        assert len(list(tmp_path.glob(f"logs/runs/*/{family}/*/results/quick.json"))) == 1
    drawn = sum("image/png" in output.get("data", {}) for cell in executed.cells for output in cell.get("outputs", ()))
    assert drawn == 6, "the data, samples of both, neighbours, reconstructions and a way of the one that encodes"


def test_a_table_with_its_privacy(tmp_path: Path) -> None:
    printed = run_in_a_fork("table_privacy", tmp_path)
    equal = {line.split()[0]: line.split()[-1] for line in printed.splitlines() if line.endswith("%")}
    assert equal["copy"] == "100.0%"
    assert equal["vae"] == "0.0%"
    rows = (tmp_path / "synthetic.csv").read_text().splitlines()
    assert rows[0].split(",") == (tmp_path / "patients.csv").read_text().splitlines()[0].split(",")
    assert len(rows) == 501
    shares = {}
    for file in tmp_path.glob("logs/runs/*/*/*/results/quick.json"):
        result = json.loads(file.read_text())
        shares[result["model"]["name"]] = result["quality"]["nearer_share"]
    assert set(shares) - {"floor"} == {"copy", "forest", "vae"}
    assert shares["copy"] > 0.5


def test_anomalies(tmp_path: Path) -> None:
    printed = run_in_a_fork("anomalies", tmp_path)
    assert len(list(tmp_path.glob("logs/runs/digits/*/*/samples/detect_*.json"))) == 6
    (noise,) = tmp_path.glob("logs/runs/digits/gmm/*/samples/detect_test_noise*.json")
    scores = json.loads(noise.read_text())["scores"]
    assert min(scores[name]["auroc"] for name in ("nll", "neighbour")) > 0.9, "shuffled pixels are found"
    assert "AUROC, digits against" in printed


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_stored_came_from_this_code_and_tells_nothing_else(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    again = f"python notebooks/execute.py notebooks/{path.name}"
    assert notebook.metadata["genlab"]["code_sha256"] == EXECUTE.checksum(notebook), f"{again} makes the outputs again"
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert sum(bool(cell.outputs) for cell in cells) > len(cells) / 2
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not re.search(r"(?<![\w.])/(tmp|root|home|usr|opt|work)/", text_of(notebook))
    assert path.stat().st_size <= EXECUTE.LARGEST


def test_parameters_are_exchanged_by_name_and_only_those_that_there_are() -> None:
    new, tagged = nbformat.v4.new_code_cell, {"tags": ["parameters"]}
    notebook = nbformat.v4.new_notebook(cells=[new("n = 1\nm = 2", metadata=tagged), new("n")])
    changed = EXECUTE.with_parameters(notebook, {"n": [3]})
    assert [cell.source for cell in changed.cells] == ["n = 1\nm = 2", "n = [3]", "n"]
    assert len(notebook.cells) == 2
    with pytest.raises(ValueError, match="parameters n, m, and no k"):
        EXECUTE.with_parameters(notebook, {"k": 1})


def test_lines_of_progress_are_no_output_and_warnings_are() -> None:
    lines = " --%  training 32/640  159/s\n 45%  0:03 left  samples 3/9\nA warning of 45%\n"
    lines += "/here/tqdm/auto.py:21: TqdmWarning: IProgress not found. Update.\n  from .autonotebook import tqdm\n"
    kept = EXECUTE.kept([nbformat.v4.new_output("stream", name="stderr", text=lines)])
    assert [output.text for output in kept] == ["A warning of 45%\n"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_site_has_a_page_of_it(path: Path) -> None:
    page = dict(site.notebook_pages())[f"notebooks/{path.stem}.md"]
    notebook = read(path)
    for cell in notebook.cells:
        assert cell.source.partition("](")[0].strip()[:200] in page
    pictures = sum("image/png" in output.get("data", {}) for cell in code_cells(notebook) for output in cell.outputs)
    assert page.count("](data:image/png;base64,") == pictures
    for link in re.findall(r"(?<!!)\[[^\]]*\]\((?!http)([^)#]+)", page):
        assert link.startswith("/"), link
        assert (ROOT / "docs" / link[1:]).is_file()
