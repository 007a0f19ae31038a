"""Weights & Biases, the default dashboard."""

from __future__ import annotations

import html
import logging
import os
import secrets
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Gt
from pytorch_lightning.loggers.logger import rank_zero_experiment
from pytorch_lightning.utilities import rank_zero_only

from genlab.core.errors import GenlabError
from genlab.loggers.dashboards import MOST_SOUNDS, Dashboard
from genlab.loggers.protocols import RunStatus, flatten, result_figures
from genlab.loggers.wandb_access import WandbMode, check_project
from genlab.loggers.wandb_session import first_line, quiet_settings, staged_in, start_run
from genlab.measure.result import Result
from genlab.runs.atomic import write_atomic

__all__ = ["WandbDashboard", "result_summary"]

_log = logging.getLogger("genlab")

_X_AXIS = "examples_seen"
# W&B shows a run that ended with 255 as killed, and any other code but 0 as failed.
_EXIT_CODES: dict[RunStatus, int] = {"finished": 0, "failed": 1, "interrupted": 255}


class WandbDashboard(Dashboard):
    """Log to Weights & Biases, or to files in the run's folder that can be uploaded later.

    The W&B run starts when training does. It is online where there is a key and the server answers, else offline, and
    then one line says why and how to upload. Nothing about W&B stops a run: when it fails, a line says so and the
    training goes on without it.

    A resumed run goes on in the same W&B run: its id is the run id and a random part that the run's folder keeps, so
    that the same command on another machine, or of another member of a team, is another W&B run. Started by an agent of
    a W&B sweep, it is the agent's run, in the project of the sweep.

    Args:
        run_dir: The run's folder, ``<data>/<model>/<run id>`` under some root; W&B writes to ``wandb`` in it.
        run_id: The run's id.
        config: The run's configuration in plain containers; secrets in it are hidden.
        code_version: Version of the package and commit of the code.
        project: Project on W&B.
        entity: User or team on W&B; None for the user's default.
        mode: See :func:`genlab.loggers.wandb_access.find_access`.
        tags: Tags besides the names of data and model.
        start_seconds: Longest wait for the server at the start, in seconds, before the run goes on offline.
        machine_info: Also record the host's name, hardware and load, and the command line as it was typed.

    Raises:
        GenlabError: If ``project`` cannot be one; at the start, if ``mode`` is unknown, or ``"online"`` without a key.
    """

    def __init__(
        self,
        run_dir: Path,
        run_id: str,
        config: Mapping[str, Any],
        code_version: str,
        *,
        project: str = "genlab",
        entity: str | None = None,
        mode: WandbMode = "auto",
        tags: Sequence[str] = (),
        start_seconds: Annotated[float, Gt(0)] = 5.0,
        machine_info: bool = False,
    ) -> None:
        super().__init__(run_dir, run_id, config, code_version)
        check_project("logger.project", project)
        self.project = project
        self.entity = entity
        self.mode = mode
        self.tags = tags
        self.start_seconds = start_seconds
        self.machine_info = machine_info
        self._run: Any = None
        self._started = False
        self._failed = False

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The ``wandb.Run``, started at the first use; None when W&B is disabled, did not start, or was closed."""
        if not self._started:
            # Lightning asks for it as training starts, on all ranks; so nothing waits for a network before that.
            self._started = True
            self._run = self._start()
        return self._run

    def log_figures(self, figures: Mapping[str, float], examples_seen: int) -> None:
        self._attempt(lambda run: run.log({**figures, _X_AXIS: examples_seen}))

    @rank_zero_only
    def log_picture(self, name: str, path: Path, examples_seen: int) -> None:
        """Show a picture; see :class:`genlab.loggers.protocols.LogsPicture`."""

        def show(run: Any) -> None:
            import wandb

            run.log({name: wandb.Image(str(path)), _X_AXIS: examples_seen})

        self._attempt(show)

    @rank_zero_only
    def log_files(self, name: str, paths: Sequence[Path], examples_seen: int) -> None:
        """Let samples be read or listened to; see :class:`genlab.loggers.protocols.LogsFiles`."""

        def show(run: Any) -> None:
            import wandb

            texts = [path.read_text(encoding="utf-8") for path in paths if path.suffix == ".txt"]
            shown: dict[str, Any] = {f"{name} as text": wandb.Html(f"<pre>{html.escape(text)}</pre>") for text in texts}
            if sounds := [path for path in paths if path.suffix == ".wav"][:MOST_SOUNDS]:
                shown[f"{name} as sound"] = [wandb.Audio(str(path)) for path in sounds]
            if shown:
                run.log({**shown, _X_AXIS: examples_seen})

        self._attempt(show)

    @rank_zero_only
    def log_result(self, result: Result) -> None:
        """Write the figures to the summary of the W&B run, and all of the result to a table of one row."""
        protocol = result.protocol.name
        # Lists and nulls have no type that a column could have.
        row = {key: value for key, value in flatten(result.as_dict()).items() if isinstance(value, int | float | str)}

        def show(run: Any) -> None:
            import wandb

            run.summary.update(result_summary(result))
            table = wandb.Table(columns=list(row), data=[list(row.values())])
            run.log({f"result/{protocol}": table, _X_AXIS: result.training.examples_seen})

        self._attempt(show)

    @rank_zero_only
    def close(self, status: RunStatus) -> None:
        """End the W&B run; what cannot be uploaded in 20 s stays on the disk, and a line says how to upload it."""
        self._started = True
        run, self._run = self._run, None
        if run is None:
            return
        try:
            run.finish(exit_code=_EXIT_CODES[status])
        except Exception as error:  # A dashboard is no reason for a finished run to fail.
            if not self._failed:
                self._say(f"W&B could not upload everything ({first_line(error)})", online=True)

    def _start(self) -> Any:
        try:
            run, reason = start_run(self.mode, self.start_seconds, self._init)
        except GenlabError:
            raise
        except Exception as error:
            _log.warning("W&B does not start (%s); going on without it.", first_line(error))
            return None
        if run is not None and reason:
            self._say(f"W&B is offline ({reason})")
        return run

    def _init(self, mode: str) -> Any:
        import wandb

        data, model = self.data_and_model
        with staged_in(self.run_dir / "wandb"):
            run = wandb.init(
                dir=self.run_dir,
                project=self.project,
                entity=self.entity,
                id=self._wandb_id(),
                name=f"{data} {model} {self.run_id}",
                group=f"{data}/{model}",
                tags=[data, model, *self.tags],
                config=self.config,
                mode=mode,
                # Online this goes on in the run of that id. Offline every start writes a folder of its own, whose log
                # says that it continues: `wandb sync` on the folder of all of them uploads them in the order of their
                # start and appends each to the one before. Offline logs of wandb before 0.31 overwrote each other.
                resume="allow",
                # A run that something else in this process has open is left alone.
                reinit="create_new",
                settings=quiet_settings(self.start_seconds, self.machine_info),
            )
        run.define_metric(_X_AXIS, hidden=True)
        run.define_metric("*", step_metric=_X_AXIS)
        return run

    def _wandb_id(self) -> str:
        path = self.run_dir / "wandb" / "id.txt"
        # An agent of a W&B sweep has made the run that it waits for; wandb.init takes its id, whatever it is told.
        given = os.environ.get("WANDB_RUN_ID") if os.environ.get("WANDB_SWEEP_ID") else None
        if given or not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, f"{given or f'{self.run_id}-{secrets.token_hex(3)}'}\n")
        return path.read_text(encoding="utf-8").strip()

    def _attempt(self, act: Callable[[Any], None]) -> None:
        """Do something with the W&B run, if there is one; nothing more but to end it once that has failed."""
        run = self.experiment
        if run is None or self._failed:
            return
        try:
            with staged_in(self.run_dir / "wandb"):
                act(run)
        except Exception as error:
            self._failed = True
            self._say(f"W&B has failed ({first_line(error)}); going on without it", online=True)

    def _say(self, what: str, online: bool = False) -> None:
        folder = os.path.relpath(self.run_dir / "wandb")
        _log.warning(
            "%s. To upload this run: wandb sync %s%s",
            what,
            "--include-online " if online else "",
            shlex.quote(folder),
        )


def result_summary(result: Result) -> dict[str, float | str]:
    """Return what the summary of a W&B run says of a result: its figures, and what kind and protocol they are of.

    Args:
        result: That of one protocol.
    """
    likelihood, quality = result.likelihood, result.quality
    words = {
        "protocol": result.protocol.name,
        "protocol_hash": result.protocol.hash,
        "likelihood_kind": None if likelihood is None else likelihood.kind,
        "likelihood_of": None if likelihood is None else likelihood.of,
        "extractor": None if quality is None else quality.extractor,
    }
    return {**result_figures(result), **{name: word for name, word in words.items() if word is not None}}
