"""An Optuna study in a database, on which many processes and machines may work, and which outlives each of them.

Optuna's own loop counts trials for each process, and gives up those whose process died. Here a trial is claimed: under
a lock that all processes share, a claim takes over a trial whose process is dead, or starts a new one while there are
fewer than the total. So the total is neither missed nor exceeded, and no trial is lost or done twice.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import logging
import math
import os
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from genlab.core.errors import GenlabError
from genlab.core.secrets import redact_text
from genlab.sweeps.owners import is_alive, this_process

__all__ = ["MOST_INTERRUPTIONS", "SharedStudy", "shown_url"]

BEAT_SECONDS = 30
GRACE_SECONDS = 180
"""A process on another machine that has not been heard of for so long is taken for dead."""

MOST_INTERRUPTIONS = 15
"""So often may a trial's job be ended from outside, and go on; then it has failed."""

PATIENCE_SECONDS = 60.0
"""So long may the database be away."""

FEWEST_TRIES = 4

OURS = "genlab"
"""Attribute of a study with what it searches; its row in the database is also the lock."""

OWNER, INTERRUPTIONS = "owner", "interruptions"

_log = logging.getLogger("genlab")
Result = TypeVar("Result")


def shown_url(url: str) -> str:
    """Return the address of a database without its password, and without its options, which may hold it too."""
    try:
        return sqlalchemy.engine.make_url(url).set(query={}).render_as_string(hide_password=True)
    except sqlalchemy.exc.ArgumentError:
        return redact_text(url)


class SharedStudy:
    """A study that this process opens beside others.

    Args:
        url: SQLAlchemy's address of the database; of sqlite a file, whose folder is made.
        name: Name of the study in it; it is made if it is not there.
        directions: ``"minimize"`` or ``"maximize"``, for each objective.
        space: Distribution of each parameter.
        total: Trials in all, over all processes and starts.
        make_sampler: Returns the sampler of a trial from its number. A new one for each trial, so that processes with
            the same seed do not propose the same values, and a study that was killed goes on as if it had not been.
        pruner: Judges trials while they run.
        about: What the study searches, as plain values: another search of the same name is refused.

    Raises:
        GenlabError: If the database cannot be used, or the study of that name is another.
    """

    def __init__(
        self,
        url: str,
        name: str,
        directions: Sequence[str],
        space: Mapping[str, BaseDistribution],
        total: int,
        make_sampler: Callable[[int], optuna.samplers.BaseSampler],
        pruner: optuna.pruners.BasePruner,
        about: Mapping[str, Any],
        beat_seconds: int = BEAT_SECONDS,
        grace_seconds: int = GRACE_SECONDS,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.name = name
        self.url = shown_url(url)
        self.total = total
        self.space = dict(space)
        self.me = {**this_process(), "token": uuid.uuid4().hex}
        self._make_sampler = make_sampler
        self._file_lock = threading.Lock()
        self._lock_file = _lock_file(url)
        self._storage = self._open(url, beat_seconds, grace_seconds)
        with self._first():
            self.study = self._patiently(
                lambda: optuna.create_study(
                    storage=self._storage, study_name=name, directions=list(directions), pruner=pruner,
                    sampler=make_sampler(0), load_if_exists=True,
                )
            )  # fmt: skip
            self._check_same(directions, json.loads(json.dumps(about)))
        self._mine: dict[int, Trial] = {}
        self._closed = threading.Event()
        self._heart = threading.Thread(target=self._beat, args=(beat_seconds,), daemon=True)
        self._heart.start()

    def __enter__(self) -> SharedStudy:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def claim(self) -> Trial | None:
        """Return a trial to work on, with all its parameters: one that a dead process left, or a new one.

        Returns:
            None when all trials are done or in work.
        """
        return self._patiently(self._claim)

    def finish(self, trial: Trial, values: Sequence[float] | None, state: TrialState, **attributes: Any) -> bool:
        """Record how a trial ended.

        Args:
            trial: From `claim`.
            values: The objectives of a complete trial, else None.
            state: ``COMPLETE``, ``PRUNED`` or ``FAIL``.
            **attributes: Plain values that are kept with it.

        Returns:
            False if it is no longer ours: another process took us for dead and works on it.
        """
        return self._patiently(lambda: self._finish(trial, values, state, attributes))

    def release(self, trial: Trial, asked: bool = False) -> None:
        """Let any process take over a trial whose job was interrupted, and goes on from its checkpoint.

        Args:
            trial: From `claim`.
            asked: Whether its search was asked to stop: then the trial is not suspected of being at fault.
        """
        count = trial.user_attrs.get(INTERRUPTIONS, 0) + (not asked)
        if count > MOST_INTERRUPTIONS:
            error = f"Interrupted {count} times."
            self.finish(trial, None, TrialState.FAIL, error=error)
            return
        self._patiently(lambda: self._give_up(trial, count))

    def report(self, trial: Trial, value: float, step: int) -> bool:
        """Record a validation of a running trial, and return whether it is hopeless.

        So is one that another process, which took us for dead, has finished: nobody waits for it.
        """

        def judge() -> bool:
            try:
                trial.report(value, step)
            except optuna.exceptions.UpdateFinishedTrialError:
                return True
            return trial.should_prune()

        return math.isfinite(value) and self._patiently(judge)

    def last_step(self, trial: Trial) -> int:
        """Return the last validation that was reported of a trial, 0 before the first."""
        return self._patiently(lambda: self._storage.get_trial(trial._trial_id)).last_step or 0

    def trials(self) -> list[FrozenTrial]:
        """Return all trials by number."""
        return self._patiently(lambda: self.study.get_trials(deepcopy=False))

    def close(self) -> None:
        """Stop the heartbeat, and let others take over what is still in work here."""
        self._closed.set()
        self._heart.join()
        for trial in list(self._mine.values()):
            with suppress(Exception):  # the database may be what made us stop; then the heartbeat says that we died
                self._give_up(trial, trial.user_attrs.get(INTERRUPTIONS, 0))
        self._storage.engine.dispose()

    def _open(self, url: str, beat: int, grace: int) -> RDBStorage:
        options: dict[str, Any] = {"pool_pre_ping": True}  # a connection may have died since its last use
        if self._lock_file is not None:
            self._lock_file.parent.mkdir(parents=True, exist_ok=True)
            options["connect_args"] = {"timeout": PATIENCE_SECONDS}

        def connect() -> RDBStorage:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                return RDBStorage(url, options, heartbeat_interval=beat, grace_period=grace)

        try:
            with self._first():
                # Of two processes that make the tables at once, one fails, and finds them when it tries again.
                return self._patiently(connect, seconds=3.0)
        except (ImportError, sqlalchemy.exc.NoSuchModuleError) as error:
            hint = "pip install 'genlab[postgresql]'" if "postgres" in url else "install the database's driver"
            raise GenlabError(f"There is no driver for {self.url}: {hint}. ({redact_text(str(error))})") from error
        except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError, OSError) as error:
            # Not "from error": its text may hold what the address says.
            raise GenlabError(f"Cannot use the database {self.url}: {_first_line(error)}") from None

    @contextmanager
    def _first(self) -> Iterator[None]:
        """While tables are made there is no row to lock yet; files have their lock all the same."""
        if self._lock_file is None:
            yield
        else:
            with _locked_file(self._lock_file):
                yield

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep all other processes of the study out. The lock ends with the process, however that ends."""
        with self._file_lock:
            if self._lock_file is not None:
                # sqlite's own lock is of no use here: it would also keep out Optuna's connection of this process.
                with _locked_file(self._lock_file):
                    yield
                return
            row = sqlalchemy.table("study_user_attributes", *map(sqlalchemy.column, ("study_id", "key", "value_json")))
            wanted = sqlalchemy.select(row.c.value_json).where(
                row.c.study_id == self.study._study_id, row.c.key == OURS
            )
            with self._storage.engine.begin() as connection:
                connection.execute(wanted.with_for_update())
                yield

    def _check_same(self, directions: Sequence[str], about: dict[str, Any]) -> None:
        there = self.study.user_attrs.get(OURS)
        if there is None and not self.study.get_trials(deepcopy=False):
            self.study.set_user_attr(OURS, about)
        # Read again: another process may have been first, and have trials already.
        there = there or self.study.user_attrs.get(OURS)
        same = [StudyDirection[direction.upper()] for direction in directions] == self.study.directions
        if there != about or not same:
            told = there or {}
            changed = [key for key in about if told.get(key) != about[key]] or ["the directions"]
            raise GenlabError(
                f"The study '{self.name}' in {self.url} is of another search: it differs in {', '.join(changed)}.\n"
                "Give the command that began it, or hydra.sweeper.study=<another name>."
            )

    def _claim(self) -> Trial | None:
        with self._locked():
            trials = self.study.get_trials(deepcopy=False)
            stale = set(self._storage._get_stale_trial_ids(self.study._study_id))
            left = next((trial for trial in trials if self._is_abandoned(trial, stale)), None)
            if left is not None:
                self.study.sampler = self._make_sampler(left.number)
                trial = Trial(self.study, left._trial_id)
            elif len(trials) < self.total or any(trial.state is TrialState.WAITING for trial in trials):
                self.study.sampler = self._make_sampler(len(trials))
                with warnings.catch_warnings():
                    warnings.filterwarnings("ignore", "Heartbeat of storage")  # we have our own
                    trial = self.study.ask()
            else:
                return None
            # In this order: whoever is named as the owner has been heard of.
            self._storage.record_heartbeat(trial._trial_id)
            trial.set_user_attr(OWNER, self.me)
            for key, distribution in self.space.items():
                _suggest(trial, key, distribution)
        self._mine[trial._trial_id] = trial
        return trial

    def _is_abandoned(self, trial: FrozenTrial, stale: set[int]) -> bool:
        if trial.state is not TrialState.RUNNING or trial._trial_id in self._mine:
            return False
        owner = trial.user_attrs.get(OWNER)
        if owner is None:  # released, or killed within its claim, which the lock says is over
            return True
        alive = is_alive(owner)
        return trial._trial_id in stale if alive is None else not alive

    def _finish(
        self, trial: Trial, values: Sequence[float] | None, state: TrialState, attributes: Mapping[str, Any]
    ) -> bool:
        with self._locked():
            there = self._storage.get_trial(trial._trial_id)
            owner = there.user_attrs.get(OWNER) or {}
            ours = owner.get("token") == self.me["token"]
            if ours and not there.state.is_finished():
                for key, value in attributes.items():
                    trial.set_user_attr(key, value)
                self.study.tell(trial, values, state)
        self._mine.pop(trial._trial_id, None)
        return ours

    def _give_up(self, trial: Trial, count: int) -> None:
        with self._locked():
            there = self._storage.get_trial(trial._trial_id)
            if (there.user_attrs.get(OWNER) or {}).get("token") == self.me["token"] and not there.state.is_finished():
                trial.set_user_attr(INTERRUPTIONS, count)
                trial.set_user_attr(OWNER, None)
        self._mine.pop(trial._trial_id, None)

    def _beat(self, seconds: int) -> None:
        while not self._closed.wait(seconds):
            for trial_id in list(self._mine):
                try:
                    self._storage.record_heartbeat(trial_id)
                except Exception as error:  # away for a while: the next beat may get through
                    _log.debug("No heartbeat to %s: %s", self.url, _first_line(error))

    def _patiently(self, act: Callable[[], Result], seconds: float = PATIENCE_SECONDS) -> Result:
        """Do again what the database refused, for a while."""
        deadline, pause = time.monotonic() + seconds, 0.1
        for attempt in itertools.count(1):
            try:
                return act()
            except (sqlalchemy.exc.DBAPIError, optuna.exceptions.StorageInternalError) as error:
                # On a busy machine a single try may take as long as our patience.
                if attempt >= FEWEST_TRIES and time.monotonic() + pause > deadline:
                    raise GenlabError(f"Cannot use the database {self.url}: {_first_line(error)}") from None
                time.sleep(pause)
                pause = min(2 * pause, 5.0)
        raise AssertionError("the loop has no end")


def _suggest(trial: Trial, key: str, distribution: BaseDistribution) -> None:
    if isinstance(distribution, CategoricalDistribution):
        trial.suggest_categorical(key, distribution.choices)
    elif isinstance(distribution, IntDistribution):
        trial.suggest_int(key, distribution.low, distribution.high, step=distribution.step, log=distribution.log)
    elif isinstance(distribution, FloatDistribution):
        trial.suggest_float(key, distribution.low, distribution.high, step=distribution.step, log=distribution.log)
    else:
        raise TypeError(f"{key} has a {type(distribution).__name__}")


def _lock_file(url: str) -> Path | None:
    """Return the file that is locked for a study in sqlite, None for a database that locks rows."""
    try:
        parts = sqlalchemy.engine.make_url(url)
    except sqlalchemy.exc.ArgumentError:
        raise GenlabError(
            f"hydra.sweeper.storage is '{redact_text(url)}', expected a database's address such as "
            "sqlite:///folder/study.db or postgresql+pg8000://user@host/name."
        ) from None
    if parts.get_backend_name() != "sqlite":
        return None
    if parts.database in (None, "", ":memory:"):
        raise GenlabError("hydra.sweeper.storage is a database in memory, which ends with the process: give a file.")
    return Path(f"{parts.database}.lock")


@contextmanager
def _locked_file(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _first_line(error: BaseException) -> str:
    cause = error.__cause__ or error
    reason = getattr(cause, "orig", None) or cause
    lines = str(reason).strip().splitlines() or [type(error).__name__]
    return redact_text(lines[0])[:300]
