"""What the tasks say to the user: a log file beside the run, a result on the terminal."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from genlab.runs.folder import RunDir

__all__ = ["log_to", "quiet", "show_result"]


@contextmanager
def log_to(path: Path) -> Iterator[None]:
    """Send the package's messages to the terminal and, with Lightning's and warnings, to a file."""
    genlab = logging.getLogger("genlab")
    lightning = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    file = logging.FileHandler(path)
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    terminal = logging.StreamHandler()
    terminal.setFormatter(logging.Formatter("%(message)s"))
    # Lightning's remarks on hardware and tips would bury what the user asked for.
    kept = [(logger.handlers, logger.propagate) for logger in lightning], genlab.level
    for logger in lightning:
        logger.handlers, logger.propagate = [file], False
    genlab.setLevel(logging.INFO)
    genlab.addHandler(file)
    genlab.addHandler(terminal)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"pytorch_lightning|lightning_fabric")
            # Of several devices, and some shapes of convolutions; nothing that a user could change.
            warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
            yield
    finally:
        for logger, (handlers, propagate) in zip(lightning, kept[0], strict=True):
            logger.handlers, logger.propagate = handlers, propagate
        genlab.setLevel(kept[1])
        genlab.removeHandler(file)
        genlab.removeHandler(terminal)
        file.close()


@contextmanager
def quiet() -> Iterator[None]:
    """Say nothing but errors: for a process beside one that says it all."""
    loggers = [logging.getLogger(name) for name in ("genlab", "pytorch_lightning", "lightning_fabric")]
    kept = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, kept, strict=True):
            logger.setLevel(level)


def show_result(result: dict[str, Any], place: RunDir, remark: str = "") -> None:
    """Print a result as a small table, with the remark below it."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column()
    for name, value in _rows(result, place):
        table.add_row(name, value)
    console = Console(highlight=False)
    console.print()
    console.print(table, soft_wrap=True)
    if remark:
        console.print(remark)


def _rows(result: dict[str, Any], place: RunDir) -> Iterator[tuple[str, str]]:
    model, data, training = result["model"], result["data"], result["training"]
    yield "model", f"{model['name']} ({model['variant']}), {model['parameters']:,} parameters"
    yield "data", f"{data['name']}, {data['split']}"
    yield "likelihood", _likelihood(result, "likelihood")
    if (figures := result["likelihood"]) and figures["bits_per_dim"] is not None:
        yield "  in nats", f"{figures['nats']:.3f} ± {figures['nats_se']:.3f}"
    if figures and "one_draw" in figures:
        yield "  of one draw", _figure(figures["one_draw"])
    if result["likelihood_last"] is not None:
        yield "  last checkpoint", _likelihood(result, "likelihood_last")
    if (entropy := result["reference"]["true_entropy_nats"]) is not None:
        yield "true entropy", f"{entropy:.4f} nats"
    if (quality := result["quality"]) is not None:
        features = "" if quality["extractor"] is None else f"{quality['extractor']} features, "
        yield "FID", f"{_number(quality['fid'])} ({features}{quality['n_fake']:,} samples)"
        if (last := result.get("quality_last")) is not None:
            yield "  last checkpoint", _number(last["fid"])
        yield "KID", f"{_number(quality['kid'])} ± {_number(quality['kid_sd'])}"
        for name in ("precision", "recall", "density", "coverage"):
            yield f"  {name}", _number(quality[name])
        yield from _more_quality(quality, data["num_classes"])
    time = "" if training["wall_seconds"] is None else f" in {training['wall_seconds'] / 60:.1f} min"
    yield "training", f"{training['examples_seen']:,} examples{time} on {training['device']}"
    if (sampling := result["sampling"]) is not None:
        yield "sampling", f"{_number(sampling['ms_per_sample'])} ms per sample, {sampling['nfe']} network evaluations"
    yield "protocol", f"{result['protocol']['name']} ({result['protocol']['hash']})"
    yield "run", str(place.path)


def _more_quality(quality: dict[str, Any], classes: int | None) -> Iterator[tuple[str, str]]:
    if missing := quality.get("missing_classes"):
        yield "missing classes", f"{missing} of {classes} hardly occur among the samples: a sign of mode collapse"
    if "inception_fid" in quality:
        kid = f"{_number(quality['inception_kid'])} ± {_number(quality['inception_kid_sd'])}"
        yield "Inception FID", f"{_number(quality['inception_fid'])}, KID {kid}"
    if "classification_accuracy" in quality:
        ceiling = _number(quality["classification_accuracy_real"])
        yield "accuracy score", f"{_number(quality['classification_accuracy'])}; trained on real data {ceiling}"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"


def _likelihood(result: dict[str, Any], section: str) -> str:
    figures = result[section]
    return f"none: {result['missing'][section]}" if figures is None else _figure(figures)


def _figure(figures: dict[str, Any]) -> str:
    if figures["bits_per_dim"] is None:
        return f"{figures['nats']:.4f} ± {figures['nats_se']:.4f} nats ({figures['kind']})"
    return f"{figures['bits_per_dim']:.4f} ± {figures['bits_per_dim_se']:.4f} bits/dim ({figures['kind']})"
