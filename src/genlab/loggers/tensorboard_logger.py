"""TensorBoard."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pytorch_lightning.utilities import rank_zero_only

from genlab.core.errors import GenlabError, shown
from genlab.loggers.dashboards import MOST_SOUNDS, Dashboard
from genlab.loggers.protocols import RunStatus, flatten, result_figures
from genlab.measure.result import Result
from genlab.runs.atomic import make_folder

__all__ = ["TensorBoardDashboard"]

_log = logging.getLogger("genlab")

# TensorBoard reads the files while the run goes on; a killed process loses what it had not written yet.
_FLUSH_SECONDS = 10


class TensorBoardDashboard(Dashboard):
    """Log to TensorBoard files in the folder ``tensorboard`` of the run.

    A run goes on without it where its files cannot be written; a line says so.
    What a killed process had logged beyond its checkpoint is hidden by TensorBoard once the resumed run logs anew.

    Args:
        run_dir: The run's folder.
        run_id: The run's id.
        config: The run's configuration in plain containers; secrets in it are hidden.
        code_version: Version of the package and commit of the code.

    Raises:
        GenlabError: If TensorBoard is not installed.
    """

    def __init__(self, run_dir: Path, run_id: str, config: Mapping[str, Any], code_version: str) -> None:
        super().__init__(run_dir, run_id, config, code_version)
        try:
            import tensorboard  # noqa: F401
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise GenlabError(
                f"logger=tensorboard needs TensorBoard, which is not installed ({error}).\n"
                "Install it: pip install 'genlab[tensorboard]'"
            ) from error
        self._writer_class = SummaryWriter
        self._writer: Any = None
        self._closed = False

    def log_figures(self, figures: Mapping[str, float], examples_seen: int) -> None:
        def show(writer: Any) -> None:
            for name, value in figures.items():
                writer.add_scalar(name, value, examples_seen)

        self._attempt(show, purge_from=examples_seen)

    @rank_zero_only
    def log_picture(self, name: str, path: Path, examples_seen: int) -> None:
        """Show a picture; see :class:`genlab.loggers.protocols.LogsPicture`."""
        import numpy as np
        from PIL import Image

        def show(writer: Any) -> None:
            with Image.open(path) as picture:
                writer.add_image(name, np.asarray(picture.convert("RGB")), examples_seen, dataformats="HWC")

        self._attempt(show, purge_from=examples_seen + 1)

    @rank_zero_only
    def log_files(self, name: str, paths: Sequence[Path], examples_seen: int) -> None:
        """Let samples be read or listened to; see :class:`genlab.loggers.protocols.LogsFiles`."""
        sounds = [path for path in paths if path.suffix == ".wav"][:MOST_SOUNDS]

        def show(writer: Any) -> None:
            for path in (path for path in paths if path.suffix == ".txt"):
                text = path.read_text(encoding="utf-8")
                writer.add_text(name, _as_block(text), examples_seen)
            for number, path in enumerate(sounds, 1):
                import soundfile

                values, rate = soundfile.read(path, dtype="float32", always_2d=True)
                writer.add_audio(f"{name}/{number}", values.T, examples_seen, sample_rate=rate)

        self._attempt(show, purge_from=examples_seen + 1)

    @rank_zero_only
    def log_result(self, result: Result) -> None:
        """Show the figures beside the configuration (the tab HPARAMS), and all of the result as text."""
        examples_seen = result.training.examples_seen

        def show(writer: Any) -> None:
            settings = {key: _setting(value) for key, value in flatten(self.config).items()}
            # The name "." keeps the figures in this run; otherwise they would make a second one, named by the time.
            writer.add_hparams(settings, result_figures(result), run_name=".", global_step=examples_seen)
            writer.add_text(f"result/{result.protocol.name}", _as_text(result.as_dict()), examples_seen)
            writer.flush()

        self._attempt(show, purge_from=examples_seen + 1)

    def finalize(self, status: str) -> None:
        """Write out what is pending; the result is logged after Lightning has finished."""
        if self._writer is not None:
            self._attempt(lambda writer: writer.flush())

    @rank_zero_only
    def close(self, status: RunStatus) -> None:
        """Close the files; a second call does nothing."""
        if self._writer is not None:
            self._attempt(lambda writer: writer.close())
        self._closed, self._writer = True, None

    def _attempt(self, act: Callable[[Any], None], purge_from: int = 0) -> None:
        """Do something with the files; nothing more once that has failed: a dashboard is no reason to stop a run."""
        if self._closed:
            return
        try:
            if self._writer is None:
                self._writer = self._open(purge_from)
            act(self._writer)
        except OSError as error:
            self._closed, self._writer = True, None
            folder = shown(self.run_dir / "tensorboard")
            _log.warning("TensorBoard cannot write %s (%s); going on without it.", folder, error.strerror or error)

    def _open(self, purge_from: int) -> Any:
        # Opened at the first event, because only then is it known from where a resumed run goes on.
        folder = self.run_dir / "tensorboard"
        make_folder(folder)
        _hush_writing_threads()
        writer = self._writer_class(str(folder), purge_step=purge_from, flush_secs=_FLUSH_SECONDS)
        writer.add_text("config", _as_text(self.config), purge_from)
        return writer


def _hush_writing_threads() -> None:
    """Have no traceback printed where TensorBoard's thread cannot write: the next event is told."""
    before = threading.excepthook

    def hook(failed: threading.ExceptHookArgs) -> None:
        if not (type(failed.thread).__module__.startswith("tensorboard.") and issubclass(failed.exc_type, OSError)):
            before(failed)

    threading.excepthook = hook


def _setting(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) else str(value)


def _as_text(tree: Mapping[str, Any]) -> str:
    return _as_block(yaml.safe_dump(dict(tree), sort_keys=False))


def _as_block(text: str) -> str:
    # Four spaces make a block of code in the Markdown that TensorBoard shows.
    return "".join(f"    {line}\n" for line in text.splitlines())
