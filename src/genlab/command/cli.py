"""The commands: ``genlab train``, ``genlab sample`` and so on, and the scripts that are the same functions."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from genlab import __version__
from genlab.core.errors import nearest
from genlab.processes.job_reports import is_job
from genlab.processes.pipes import drop_unread
from genlab.processes.starting import begin, importing, starting, working

if TYPE_CHECKING:
    from omegaconf import DictConfig

__all__ = [
    "anomalies",
    "as_words",
    "augment",
    "compare",
    "dashboard",
    "detect",
    "evaluate",
    "explore",
    "export",
    "inpaint",
    "interpolate",
    "main",
    "reconstruct",
    "sample",
    "train",
    "train_extractor",
    "traverse",
]

# What a command needs is imported when it runs: --help and --cfg must be there at once.


def train(arguments: Sequence[str] | None = None) -> int:
    """Train and evaluate a model, as ``python train.py`` does.

    Args:
        arguments: What stands after the command; taken from ``sys.argv`` by default.

    Returns:
        The exit code; see :func:`genlab.command.entry.run_entry`.
    """
    return _enter("train", "config", _train, arguments, {}, _compare_sweep)


def evaluate(arguments: Sequence[str] | None = None) -> int:
    """Measure a run, or anybody's samples, as ``python scripts/evaluate.py`` does; see :func:`train`."""
    given = sys.argv[1:] if arguments is None else arguments
    if any(argument.startswith("samples=") for argument in given):  # which have no run, and data of their own
        required = {"samples": "<file or folder>"}
        words = ("trained_on",)
        return _enter("evaluate", "evaluate_samples", _evaluate_samples, arguments, required, _compare_sweep, words)
    return _enter("evaluate", "evaluate", _evaluate, arguments, {"run": "<path or id>"}, _compare_sweep)


def sample(arguments: Sequence[str] | None = None) -> int:
    """Draw samples from a trained run, as ``python scripts/sample.py`` does; see :func:`train`."""
    return _enter("sample", "sample", _sample, arguments, {"run": "<path or id>"})


def reconstruct(arguments: Sequence[str] | None = None) -> int:
    """Encode and decode examples, as ``python scripts/reconstruct.py`` does; see :func:`train`."""
    return _enter("reconstruct", "reconstruct", _reconstruct, arguments, {"run": "<path or id>"})


def interpolate(arguments: Sequence[str] | None = None) -> int:
    """Go from one example to another, as ``python scripts/interpolate.py`` does; see :func:`train`."""
    return _enter("interpolate", "interpolate", _interpolate, arguments, {"run": "<path or id>"})


def traverse(arguments: Sequence[str] | None = None) -> int:
    """Change one latent at a time, as ``python scripts/traverse.py`` does; see :func:`train`."""
    return _enter("traverse", "traverse", _traverse, arguments, {"run": "<path or id>"})


def detect(arguments: Sequence[str] | None = None) -> int:
    """Score how unusual examples are, as ``python scripts/detect.py`` does; see :func:`train`."""
    required = {"run": "<path or id>", "against": "<data>"}
    return _enter("detect", "detect", _detect, arguments, required)


def inpaint(arguments: Sequence[str] | None = None) -> int:
    """Fill in the rest of examples, as ``python scripts/inpaint.py`` does; see :func:`train`."""
    return _enter("inpaint", "inpaint", _inpaint, arguments, {"run": "<path or id>"}, words=("mask",))


def augment(arguments: Sequence[str] | None = None) -> int:
    """See whether samples make a classifier better, as ``python scripts/augment.py`` does; see :func:`train`."""
    return _enter("augment", "augment", _augment, arguments, {"run": "<path or id>"})


def export(arguments: Sequence[str] | None = None) -> int:
    """Export a run to a folder or to the Hub, as ``python scripts/export.py`` does; see :func:`train`."""
    required = {"run": "<path or id>", "to": "<folder or hf://user/name>"}
    return _enter("export", "export", _export, arguments, required)


def train_extractor(arguments: Sequence[str] | None = None) -> int:
    """Train a feature extractor, as ``python scripts/train_extractor.py`` does; see :func:`train`."""
    return _enter("train_extractor", "train_extractor", _train_extractor, arguments, {})


def compare(arguments: Sequence[str] | None = None) -> int:
    """Compare results, as ``python scripts/compare.py`` does; see :func:`train`."""
    return _enter("compare", "compare", _compare, arguments, {})


def anomalies(arguments: Sequence[str] | None = None) -> int:
    """Compare what runs found unusual, as ``python scripts/anomalies.py`` does; see :func:`train`."""
    return _enter("anomalies", "anomalies", _anomalies, arguments, {})


def dashboard(arguments: Sequence[str] | None = None) -> int:
    """Save a W&B workspace, as ``python scripts/dashboard.py`` does; see :func:`train`."""
    given = sys.argv[1:] if arguments is None else arguments
    # A dry run is a flag in every other program; Hydra has none of its own for the jobs' settings.
    given = ["dry_run=true" if argument == "--dry-run" else argument for argument in given]
    return _enter("dashboard", "dashboard", _dashboard, given, {})


def explore(arguments: Sequence[str] | None = None) -> int:
    """Serve a page over the runs of a folder, as ``python scripts/explore.py`` does; see :func:`train`."""
    return _enter("explore", "explore", _explore, arguments, {})


def _train(config: DictConfig) -> object:
    from genlab.command.finished import show_if_finished

    if (result := show_if_finished(config)) is not None:
        return result
    with importing():
        from genlab.command.train import run

    with working():
        return run(config)


def _evaluate(config: DictConfig) -> object:
    with importing():
        from genlab.command.evaluate import run

    with working():
        return run(config)


def _evaluate_samples(config: DictConfig) -> object:
    with importing():
        from genlab.command.evaluate_samples import run

    with working():
        return run(config)


def _sample(config: DictConfig) -> object:
    with importing():
        from genlab.command.sample import run

    with working():
        return run(config)


def _reconstruct(config: DictConfig) -> object:
    with importing():
        from genlab.command.use import run_reconstruct

    with working():
        return run_reconstruct(config)


def _interpolate(config: DictConfig) -> object:
    with importing():
        from genlab.command.use import run_interpolate

    with working():
        return run_interpolate(config)


def _traverse(config: DictConfig) -> object:
    with importing():
        from genlab.command.use import run_traverse

    with working():
        return run_traverse(config)


def _detect(config: DictConfig) -> object:
    with importing():
        from genlab.command.detect import run

    with working():
        return run(config)


def _inpaint(config: DictConfig) -> object:
    with importing():
        from genlab.command.inpaint import run

    with working():
        return run(config)


def _augment(config: DictConfig) -> object:
    with importing():
        from genlab.command.augment import run

    with working():
        return run(config)


def _export(config: DictConfig) -> object:
    from genlab.command.export import run

    with working():
        return run(config)


def _train_extractor(config: DictConfig) -> object:
    with importing():
        from genlab.command.train_extractor import run

    with working():
        return run(config)


def _compare(config: DictConfig) -> object:
    from genlab.command.compare import run

    with working():
        return run(config)


def _anomalies(config: DictConfig) -> object:
    from genlab.command.anomalies import run

    return run(config)


def _dashboard(config: DictConfig) -> object:
    from genlab.command.dashboard import run

    with working():
        return run(config)


def _explore(config: DictConfig) -> object:
    from genlab.command.explore import run

    with working():
        return run(config)


def _compare_sweep(results: Sequence[object]) -> None:
    from genlab.command.compare import compare_sweep

    compare_sweep(results)


def _enter(
    name: str,
    config_name: str,
    run: Callable[[DictConfig], object],
    arguments: Sequence[str] | None,
    required: dict[str, str],
    after_sweep: Callable[[Sequence[object]], None] | None = None,
    words: Sequence[str] = (),
) -> int:
    program = Path(sys.argv[0])
    is_script = program.suffix == ".py" and program.name != "__main__.py"  # as which `python -m genlab` goes
    command = sys.argv[:1] if is_script else [sys.argv[0], name]
    given = [as_words(argument, words) for argument in (sys.argv[1:] if arguments is None else arguments)]
    if arguments is None:
        begin(is_job())
    try:
        with starting(is_job()):
            from genlab.command.completion import is_for_shell, serve_shell
            from genlab.command.entry import run_entry

            enter = partial(run_entry, run, config_name, given, command, required=required, after_sweep=after_sweep)
            return serve_shell(given, enter) if is_for_shell(given) else enter()
    finally:
        drop_unread()


def as_words(argument: str, keys: Sequence[str]) -> str:
    """Quote what is given for keys that take words: their commas would be those of a sweep, of one run each.

    Args:
        argument: Of a command line.
        keys: Those that take words.
    """
    key, _, value = argument.partition("=")
    if key not in keys or value[:1] in ("", "'", '"') or re.fullmatch(r"[\w./ -]+", value):
        return argument
    # Within quotes a backslash stands for itself, but before a quote.
    escaped = re.sub(r'(\\*)("|$)', lambda found: 2 * found[1] + (r"\"" if found[2] else ""), value)
    return f'{key}="{escaped}"'


def _complete(arguments: Sequence[str]) -> int:
    from genlab.command.completion import is_query, suggest

    if is_query(arguments):
        return suggest(arguments, {name: command for name, (command, _) in COMMANDS.items()})
    return train(arguments)  # Hydra's functions for a shell know the program, and no sub-command


COMMANDS: dict[str, tuple[Callable[[Sequence[str]], int], str]] = {
    "train": (train, "train a model, evaluate it, draw its samples"),
    "evaluate": (evaluate, "measure a trained run, or samples, under one protocol"),
    "sample": (sample, "draw samples from a trained run"),
    "reconstruct": (reconstruct, "encode examples and decode them again"),
    "interpolate": (interpolate, "go from one example to another through their codes"),
    "traverse": (traverse, "change one latent at a time, the most important first"),
    "detect": (detect, "score how unusual examples are, and tell another data set from a run's own"),
    "inpaint": (inpaint, "fill in the rest of examples, given a part of them"),
    "augment": (augment, "see whether samples make a classifier better"),
    "export": (export, "share a run, as a folder or on the Hugging Face Hub"),
    "compare": (compare, "compare results, as tables and as a report"),
    "explore": (explore, "look at runs in a browser: samples, latents, a drawing under each model"),
    "anomalies": (anomalies, "compare what runs found unusual, as tables"),
    "dashboard": (dashboard, "save a W&B workspace for the runs of a project"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that stands first, or list the commands.

    Args:
        arguments: The command and what follows it; taken from ``sys.argv`` by default.

    Returns:
        The exit code: the command's, 0 for the list and the version, 2 for an unknown command.
    """
    if arguments is None:
        begin(is_job())
    given = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    command, *rest = given
    if command in ("-h", "--help", "help"):
        print("genlab trains, sweeps and fairly compares generative models.\n")
        print("\n".join(f"  genlab {name:12}{what}" for name, (_, what) in COMMANDS.items()))
        print("\ngenlab <command> --help says what can be set, e.g. genlab train model=flow data=mnist.")
        drop_unread()
        return 0
    if command == "--version":
        print(f"genlab {__version__}")
        drop_unread()
        return 0
    if command in ("-sc", "--shell-completion"):
        return _complete(given)
    if command not in COMMANDS:
        print(
            f"Unknown command '{command}'.{nearest(command, COMMANDS)} Commands: {', '.join(COMMANDS)}.",
            file=sys.stderr,
        )
        return 2
    return COMMANDS[command][0](rest)
