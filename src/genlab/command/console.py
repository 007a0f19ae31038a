"""What the tasks say to the user: a log file beside the run, a result on the terminal."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from genlab.command.sweep_record import is_trial
from genlab.core.words import counted
from genlab.measure.figures import Figure, of_section, spreads
from genlab.measure.result import Result
from genlab.measure.result_sections import Likelihood, OneDraw, Quality, Section
from genlab.runs.folder import RunDir

__all__ = ["log_to", "quiet", "result_lines", "show_result"]


@contextmanager
def log_to(path: Path) -> Iterator[None]:
    """Send the package's messages to the terminal and, with Lightning's and warnings, to a file."""
    genlab = logging.getLogger("genlab")
    lightning = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    file = _LogFile(path)
    file.addFilter(_is_no_advertisement)
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    terminal = _Terminal()
    terminal.setFormatter(logging.Formatter("%(message)s"))
    # Lightning's remarks on hardware and tips would bury what the user asked for.
    kept = [(logger.handlers, logger.propagate) for logger in lightning], genlab.level, logging.raiseExceptions
    # Libraries keep logs too, such as W&B's: of each record that a full disk does not take, logging would print a page.
    logging.raiseExceptions = False
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
            # Lightning makes DDP on a stream of its own, and PyTorch 2.10 and later remarks on it.
            warnings.filterwarnings("ignore", message="The AccumulateGrad node's stream does not match")
            yield
        if file.failure is not None:  # where something has failed beside it, that is what the user is told
            genlab.warning("%s is not complete: %s.", path, file.failure.strerror)
    finally:
        for logger, (handlers, propagate) in zip(lightning, kept[0], strict=True):
            logger.handlers, logger.propagate = handlers, propagate
        genlab.setLevel(kept[1])
        logging.raiseExceptions = kept[2]
        genlab.removeHandler(file)
        genlab.removeHandler(terminal)
        file.close()


class _LogFile(logging.StreamHandler):
    """A log file that no full disk turns into pages of tracebacks: what cannot be written is missing.

    Args:
        path: The file; lines are appended.

    Attributes:
        failure: Why something could not be written; None while all of it could.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(open(path, "a", encoding="utf-8"))  # noqa: SIM115  closed with the handler
        self.failure: OSError | None = None

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        self.failure = self.failure or error

    def close(self) -> None:
        super().close()
        try:
            self.stream.close()
        except OSError as error:
            self.failure = self.failure or error


class _Terminal(logging.Handler):
    """Writes where standard error goes at the time: above the bar while there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)


def _is_no_advertisement(record: logging.LogRecord) -> bool:
    """Lightning recommends its company's products, each time with the same sign."""
    return not str(record.msg).startswith("💡")


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


def show_result(result: Result, place: RunDir, remark: str = "") -> None:
    """Print a result as a small table, with the remark below it; of a trial of a search only where it is."""
    if is_trial():
        print(f"Done: {place.path}")
        return
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column()
    for name, value in result_lines(result, place):
        table.add_row(name, escape(value))
    console = Console(highlight=False)
    console.print()
    console.print(table, soft_wrap=True)
    if remark:
        console.print(escape(remark))


def result_lines(result: Result, place: RunDir) -> Iterator[tuple[str, str]]:
    """Give what is said of a result: each line's name and its words. A figure that is not known says why."""
    model, data, training = result.model, result.data, result.training
    variant = f" ({model.variant})" if model.variant else ""
    needed = model.parameters_to_sample
    part = "" if needed in (None, model.parameters) else f", {needed:,} of them to sample"
    size = "" if model.parameters is None else f", {counted(model.parameters, 'parameter')}{part}"
    yield "model", f"{model.name}{variant}{size}"
    yield "data", f"{data.name}, {data.split}"
    yield from _likelihood_lines(result)
    if result.reference is not None and (entropy := result.reference.true_entropy_nats) is not None:
        yield "true entropy", f"{entropy:.4f} nats"
    yield from _quality_lines(result)
    time = "" if training.wall_seconds is None else f" in {training.wall_seconds / 60:.1f} min"
    seen = training.examples_seen
    known = "not declared" if seen is None else f"{counted(seen, 'example')}{time} on {training.device}"
    yield "training", known
    yield "checkpoint", _checkpoint(result)
    yield "sampling", _costs(result)
    yield from (("warning", warning) for warning in result.warnings())
    yield "protocol", f"{result.protocol.name} ({result.protocol.hash})"
    yield "run", str(place.path)


def _checkpoint(result: Result) -> str:
    if result.checkpoint == "best":
        return f"best by {result.training.chosen_by or 'validation'}"
    return f"{result.checkpoint}: {result.missing.get('training.chosen_by', 'nothing chose one')}"


def _likelihood_lines(result: Result) -> Iterator[tuple[str, str]]:
    yield "likelihood", _likelihood(result, "likelihood")
    if (likelihood := result.likelihood) is not None:
        _, *others = _known(likelihood)
        yield from ((f"  in {figure.unit}", _with_spread(likelihood, figure)) for figure in others)
        if likelihood.how:
            yield "  computed by", likelihood.how
        if likelihood.one_draw is not None:
            yield "  of one draw", _with_kind(result, likelihood.one_draw)
        if likelihood.latents is not None:
            yield "  latents", str(likelihood.latents)
    if result.likelihood_last is not None:
        yield "  last checkpoint", _likelihood(result, "likelihood_last")


def _likelihood(result: Result, section: Literal["likelihood", "likelihood_last"]) -> str:
    likelihood: Likelihood | None = getattr(result, section)
    return f"none: {result.reason(section)}" if likelihood is None else _with_kind(result, likelihood)


def _with_kind(result: Result, likelihood: OneDraw) -> str:
    """The first figure that suits the data, with its unit and what it is: ``"1.0772 ± 0.0026 bits/dim (exact)"``."""
    figure = _known(likelihood)[0]
    unit = result.data.likelihood_unit if figure.key == "bits_per_dim" else figure.unit
    return f"{_with_spread(likelihood, figure)} {unit} ({likelihood.kind})"


def _known(likelihood: OneDraw) -> list[Figure]:
    return [figure for figure in of_section("likelihood") if likelihood.get(figure.key) is not None]


def _with_spread(section: Section, figure: Figure) -> str:
    spread = figure.standard_error(section.get)
    value = figure.write(section.get(figure.key))
    return value if spread is None else f"{value} ± {figure.write(spread)}"


def _quality_lines(result: Result) -> Iterator[tuple[str, str]]:
    quality = result.quality
    if quality is None:
        yield "quality", f"none: {result.reason('quality')}"
        return
    features = "" if quality.extractor is None else f"{quality.extractor} features, "
    yield "quality", f"{features}{counted(quality.n_fake or 0, 'sample')}"
    beside, without_features = spreads(), quality.extractor is None and result.reason("quality.extractor")
    if without_features:
        yield "  in features", f"none: {without_features}"
    for figure in of_section("quality"):
        if not figure.is_number or figure.key not in quality or figure.key in beside:
            continue
        if quality.get(figure.key) is None and result.reason(f"quality.{figure.key}") == without_features:
            continue  # said once for all of them
        yield f"  {figure.label}", _quality(result, quality, "quality", figure)
        last = result.quality_last
        if figure.headline and last is not None and figure.key in last:
            yield "    last checkpoint", _quality(result, last, "quality_last", figure)


def _quality(result: Result, quality: Quality, section: str, figure: Figure) -> str:
    if (value := quality.get(figure.key)) is None:
        return f"none: {result.reason(f'{section}.{figure.key}')}"
    spread = figure.standard_error(quality.get)
    # Four digits, as many as a few thousand samples can give.
    return f"{value:.4g}" if spread is None else f"{value:.4g} ± {spread:.4g}"


def _costs(result: Result) -> str:
    if result.sampling is None:
        return f"none: {result.reason('sampling')}"
    known = [(figure, result.value(figure)) for figure in of_section("sampling")]
    return ", ".join(
        f"{figure.label} none: {result.reason(f'sampling.{figure.key}')}" if value is None else figure.phrase(value)
        for figure, value in known
    )
