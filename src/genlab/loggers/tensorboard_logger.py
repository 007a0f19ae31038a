"""TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pytorch_lightning.utilities import rank_zero_only

from genlab.core.errors import GenlabError
from genlab.loggers.dashboards import Dashboard
from genlab.loggers.protocols import RunStatus, flatten, result_figures
from genlab.measure.result import Result

__all__ = ["TensorBoardDashboard"]

# TensorBoard reads the files while the run goes on; a killed process loses what it had not written yet.
_FLUSH_SECONDS = 10


class TensorBoardDashboard(Dashboard):
    """Log to TensorBoard files in the folder ``tensorboard`` of the run.

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
        if writer := self._open(purge_from=examples_seen):
            for name, value in figures.items():
                writer.add_scalar(name, value, examples_seen)

    @rank_zero_only
    def log_picture(self, name: str, path: Path, examples_seen: int) -> None:
        """Show a picture; see :class:`genlab.loggers.protocols.LogsPicture`."""
        import numpy as np
        from PIL import Image

        if writer := self._open(purge_from=examples_seen + 1):
            with Image.open(path) as picture:
                writer.add_image(name, np.asarray(picture.convert("RGB")), examples_seen, dataformats="HWC")

    @rank_zero_only
    def log_result(self, result: Result) -> None:
        """Show the figures beside the configuration (the tab HPARAMS), and all of the result as text."""
        examples_seen = result.training.examples_seen
        if writer := self._open(purge_from=examples_seen + 1):
            settings = {key: _setting(value) for key, value in flatten(self.config).items()}
            # The name "." keeps the figures in this run; otherwise they would make a second one, named by the time.
            writer.add_hparams(settings, result_figures(result), run_name=".", global_step=examples_seen)
            writer.add_text(f"result/{result.protocol.name}", _as_text(result.as_dict()), examples_seen)
            writer.flush()

    def finalize(self, status: str) -> None:
        """Write out what is pending; the result is logged after Lightning has finished."""
        if self._writer is not None:
            self._writer.flush()

    @rank_zero_only
    def close(self, status: RunStatus) -> None:
        """Close the files; a second call does nothing."""
        self._closed = True
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _open(self, purge_from: int) -> Any:
        if self._writer is None and not self._closed:
            # Opened at the first event, because only then is it known from where a resumed run goes on.
            self._writer = self._writer_class(
                str(self.run_dir / "tensorboard"), purge_step=purge_from, flush_secs=_FLUSH_SECONDS
            )
            self._writer.add_text("config", _as_text(self.config), purge_from)
        return self._writer


def _setting(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) else str(value)


def _as_text(tree: Mapping[str, Any]) -> str:
    # Four spaces make a block of code in the Markdown that TensorBoard shows.
    return "".join(f"    {line}\n" for line in yaml.safe_dump(dict(tree), sort_keys=False).splitlines())
