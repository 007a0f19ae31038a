"""Every file that a command leaves is written whole or not at all, on a full disk too."""

from __future__ import annotations

import ast
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from genlab.command import sample, start_search
from genlab.core.spec import DataSpec
from genlab.modalities import modality_of
from genlab.runs.atomic import write_atomic
from tests.tiny import composed, run_folder, train

SOURCE = Path(__file__).parents[1] / "src"

WRITERS = {
    "FileHandler", "dump", "imsave", "save", "save_file", "save_image", "savefig", "savez", "savez_compressed",
    "savetxt", "to_csv", "to_json", "tofile", "touch", "write_bytes", "write_text",
}  # fmt: skip
"""Methods, and functions of a module, that write a file whose name they are given."""

APPENDED_OR_APART = {
    ("genlab/command/console.py", "open"): "a log, which grows line by line",
    ("genlab/runs/metrics_csv.py", "open"): "rows are appended; a half one at the end is dropped",
    ("genlab/processes/job_reports.py", "open"): "a job's lines to its sweep, which reads them while they come",
    ("genlab/processes/pipes.py", "open"): "nowhere, for what nobody reads",
    ("genlab/sweeps/process_pool.py", "open"): "a job's log",
    ("genlab/sweeps/process_pool.py", "touch"): "takes the name of a job's log, before anything is in it",
    ("genlab/runs/locks.py", "open"): "a lock, which is held and not read",
    ("genlab/runs/scratch.py", "open"): "a lock",
    ("genlab/sweeps/shared_study.py", "open"): "a lock",
    ("genlab/data/files.py", "open"): "in a folder of its own, from which whole files are moved",
    ("genlab/sweeps/study_tables.py", "dump"): "to text",
    ("genlab/command/dashboard.py", "save"): "a workspace on W&B, no file",
    ("genlab/uses/detect/compression.py", "save"): "to memory, where its bytes are counted",
}
"""Places that may write in another way, and why."""


@contextmanager
def full_disk() -> Iterator[None]:
    """Within it no file of this process grows beyond a few bytes, and the next write to it fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def picture(path: Path) -> None:
    spec = DataSpec("colour", "image", (3, 8, 8), levels=256)
    noise = torch.randint(0, 256, (9, 3, 8, 8), dtype=torch.uint8)
    modality_of(spec).preview(noise, spec, path, "flow, run 1")


def pairs(path: Path) -> None:
    spec = DataSpec("colour", "image", (3, 8, 8), levels=256)
    noise = torch.randint(0, 256, (9, 3, 8, 8), dtype=torch.uint8)
    modality_of(spec).preview_pairs(noise, noise, spec, path, "flow, run 1")


def plot(path: Path) -> None:
    spec = DataSpec("plane", "vector", (2,))
    modality_of(spec).preview(torch.randn(20, 2), spec, path, "flow, run 1")


def text(path: Path) -> None:
    write_atomic(path, "a line\n" * 100)


@pytest.mark.parametrize("write", [picture, pairs, plot, text])
@pytest.mark.parametrize("there", [True, False])
def test_a_full_disk_leaves_the_old_file_and_no_rest(
    write: Callable[[Path], None], there: bool, tmp_path: Path
) -> None:
    path = tmp_path / "quick.png"
    if there:
        path.write_text("the old one")
    with full_disk(), pytest.raises(OSError, match="File too large"):
        write(path)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == ({path.name: "the old one"} if there else {})
    write(path)
    assert path.stat().st_size > 100
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_samples_are_there_whole_or_not_at_all(tmp_path: Path) -> None:
    train(tmp_path / "logs")
    out = tmp_path / "out" / "a.npz"
    out.parent.mkdir()
    out.write_text("the old one")
    config = composed([f"run={run_folder(tmp_path / 'logs')}", f"out={out}", "n=20", "device=cpu"], "sample")
    with full_disk(), pytest.raises(OSError, match="File too large"):
        sample.run(config)
    assert {file.name: file.read_text() for file in out.parent.iterdir()} == {out.name: "the old one"}
    sample.run(config)
    assert sorted(file.name for file in out.parent.iterdir()) == ["a.json", "a.npz", "a.png"]


def test_a_searchs_settings_are_there_whole_or_not_at_all(tmp_path: Path) -> None:
    hydra = {"sweeper": {"storage": None}, "overrides": {"hydra": ["x" * 200]}, "sweep": {"dir": str(tmp_path)}}
    config = OmegaConf.create({"hydra": hydra})
    (tmp_path / "multirun.yaml").write_text("the old one")
    with full_disk(), pytest.raises(OSError, match="File too large"):
        start_search._write_multirun(config)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("multirun.yaml", "the old one")]
    start_search._write_multirun(config)
    assert OmegaConf.load(tmp_path / "multirun.yaml") == config


def test_nothing_is_written_under_its_final_name_but_by_the_one_module_for_it() -> None:
    found = set()
    for path in SOURCE.rglob("*.py"):
        place = str(path.relative_to(SOURCE))
        if place != "genlab/runs/atomic.py":
            found |= {(place, name) for name in direct_writes(ast.parse(path.read_text()))}
    assert not found - set(APPENDED_OR_APART), "give these a file of runs/atomic.py"
    assert not set(APPENDED_OR_APART) - found, "these are exceptions no more"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("open(path, 'w')", ["open"]),
        ("open(path, mode='xb')", ["open"]),
        ("path.open('ab')", ["open"]),
        ("gzip.open(path, mode)", ["open"]),
        ("os.open(path, os.O_WRONLY | os.O_CREAT)", ["open"]),
        ("torch.save(state, path)", ["save"]),
        ("with path.open('wb') as file: torch.save(state, file)", ["open", "save"]),
        ("with atomic_file(path) as file: torch.save(state, file)", []),
        ("with atomic_file(path) as file: torch.save(state, other)", ["save"]),
        ("open(path)", []),
        ("path.open('rb')", []),
        ("tarfile.open(path)", []),
        ("os.open(path, os.O_RDONLY)", []),
    ],
)
def test_direct_writes_are_seen(line: str, found: list[str]) -> None:
    assert sorted(direct_writes(ast.parse(line))) == found


def direct_writes(node: ast.AST, atomic: frozenset[str] = frozenset()) -> Iterator[str]:
    """Names of the calls that write a file, but for those to a file of `atomic_file`."""
    if isinstance(node, ast.With):
        atomic |= {
            item.optional_vars.id
            for item in node.items
            if isinstance(item.context_expr, ast.Call)
            and name_of(item.context_expr) == "atomic_file"
            and isinstance(item.optional_vars, ast.Name)
        }
    if isinstance(node, ast.Call):
        to_atomic = any(isinstance(argument, ast.Name) and argument.id in atomic for argument in node.args)
        method = isinstance(node.func, ast.Attribute) and name_of(node) in WRITERS
        if (method and not to_atomic) or (name_of(node) == "open" and opens_to_write(node)):
            yield name_of(node)
    for child in ast.iter_child_nodes(node):
        yield from direct_writes(child, atomic)


def name_of(call: ast.Call) -> str:
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def opens_to_write(call: ast.Call) -> bool:
    of_os = isinstance(call.func, ast.Attribute) and ast.unparse(call.func) == "os.open"
    if of_os:
        return any(flag in ast.unparse(call) for flag in ("O_WRONLY", "O_RDWR", "O_CREAT"))
    # Of a path's own method the mode comes first; a module's function, as gzip.open, has it second.
    of_module = isinstance(call.func, ast.Name) or ast.unparse(call.func).split(".")[0] in ("gzip", "io", "bz2", "lzma")
    positional = call.args[1:2] if of_module else call.args[:1]
    modes = [*positional, *(keyword.value for keyword in call.keywords if keyword.arg == "mode")]
    if not of_module and modes and not isinstance(modes[0], ast.Constant):  # a file's opener, as tarfile.open(path)
        return False
    return any(not isinstance(mode, ast.Constant) or set(str(mode.value)) & set("wax+") for mode in modes)
