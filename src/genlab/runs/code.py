"""Which code trained a run and measured its figures: genlab's own and that of its plug-ins.

What tells two codes apart is a hash of their source files, whether they lie in a checkout or were installed; what they
are called, a version with the commit, is for people.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import genlab
from genlab.core.plugins import find_plugins

__all__ = ["Code", "code_version", "codes_of", "count_other_code", "other_code", "source_sha256", "this_code"]

_FOLDERS_OF_GIT = f"{os.defpath}:/usr/local/bin:/opt/homebrew/bin"
_DIGITS = 7
_MOST_NAMES = 2
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Code:
    """One state of the code.

    Attributes:
        version: What it is called, see `code_version`.
        sha256: From `source_sha256`; None where a run or a result of an earlier version does not say.
    """

    version: str
    sha256: str | None = None

    def as_dict(self) -> dict[str, str]:
        """Return plain containers, for a checkpoint or a result."""
        return {key: value for key, value in asdict(self).items() if value is not None}


_UNKNOWN = Code("unknown")


def this_code() -> Code:
    """Return the code of this process, as its files were when this was first asked."""
    return Code(code_version(), source_sha256())


@functools.cache
def source_sha256() -> str:
    """Return the SHA-256 of the Python files of the package and of all plug-ins: 64 hex digits."""
    digest = hashlib.sha256(_sha256([_package()]).encode())
    for plugin in find_plugins():
        digest.update(f"{plugin.module} {_sha256(plugin.find_sources())}".encode())
    return digest.hexdigest()


@functools.cache
def code_version() -> str:
    """Return what the code is called.

    ``"0.1.0 8aaba17"`` at a commit, ``"0.1.0 8aaba17+dirty.3f2a91c"`` where files of the package or its ``conf`` were
    changed or added since, ``"0.1.0+3f2a91c"`` outside a checkout: behind ``dirty`` or the version stands the beginning
    of the hash of the package's source files. Plug-ins follow: ``"0.1.0 8aaba17, genlab-noise 1.0+9d04c1b"``.
    """
    package = _package()
    commit, hashed = _git_commit(package), _sha256([package])[:_DIGITS]
    if commit is None:
        own = f"{genlab.__version__}+{hashed}"
    else:
        own = f"{genlab.__version__} {commit}" + (f".{hashed}" if commit.endswith("+dirty") else "")
    return ", ".join([
        own,
        *(f"{plugin.release or plugin.name}+{_sha256(plugin.find_sources())[:_DIGITS]}" for plugin in find_plugins()),
    ])  # fmt: skip


def codes_of(record: object) -> tuple[Code, ...]:
    """Return the codes that a checkpoint or a result says it was trained by, the first one first.

    Args:
        record: What they hold, from `Code.as_dict`; anything else is taken for a code that nothing is known of.
    """
    if not isinstance(record, Sequence) or not record or not all(isinstance(part, Mapping) for part in record):
        return (_UNKNOWN,)
    return tuple(_code(part) for part in record)


def _code(part: Mapping[str, Any]) -> Code:
    version, digest = part.get("version"), part.get("sha256")
    return Code(
        version if isinstance(version, str) and version else _UNKNOWN.version,
        digest if isinstance(digest, str) and _SHA256.fullmatch(digest) else None,
    )


def other_code(codes: Iterable[Code]) -> str | None:
    """Say which code it was, if any of these is not that of this process: ``"other code (then 0.1.0 ..., now ...)"``.

    Git is asked only if so: the answer of a finished run need not wait for it.
    """
    others = [code for code in codes if code.sha256 != source_sha256()]
    if not others:
        return None
    # A checkpoint or result may be anybody's: what would act on the terminal is no version.
    said = (code.version if code.version.isprintable() else _UNKNOWN.version for code in others)
    names = list(dict.fromkeys(said))
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"other code (then {' and '.join(names[:_MOST_NAMES])}{more}, now {code_version()})"


def count_other_code(runs: Sequence[Sequence[Code]], of: str) -> str | None:
    """Say of how many runs the code was another, in one line for all of them; None if of none.

    Args:
        runs: The codes of each.
        of: What they are called, such as ``"runs"``.
    """
    others = [codes for codes in runs if any(code.sha256 != source_sha256() for code in codes)]
    change = other_code(code for codes in others for code in codes)
    return None if change is None else f"Trained by {change}: {len(others)} of {len(runs)} {of}."


def _package() -> Path:
    return Path(genlab.__file__).resolve().parent


def _sha256(places: Iterable[Path]) -> str:
    """Return the hash of the Python files at some places, a file or a folder each, by their paths within these."""
    digest = hashlib.sha256()
    for place in places:
        for path in sorted(_python_files(str(place))):
            try:
                content = Path(path).read_bytes()
            except OSError:  # an editor's file that is gone again
                continue
            name = os.path.relpath(path, place).replace(os.sep, "/")
            digest.update(f"{name}\n{len(content)}\n".encode(errors="surrogateescape") + content)
    return digest.hexdigest()


def _python_files(place: str) -> Iterator[str]:
    if os.path.isfile(place):
        yield place
        return
    with os.scandir(place) as entries:  # pathlib takes four times as long
        for entry in entries:
            if entry.name.endswith(".py") and entry.is_file():
                yield entry.path
            elif entry.name != "__pycache__" and entry.is_dir(follow_symlinks=False):
                yield from _python_files(entry.path)


def _git_commit(package: Path) -> str | None:
    """Return the commit of the checkout that a package is part of, with ``+dirty`` if files or configs differ."""
    # The program is not looked up in PATH, and of the environment only the home folder reaches it, where git keeps
    # which folders are safe: a hook's GIT_DIR would point us elsewhere, and other variables name programs to run.
    program = shutil.which("git", path=_FOLDERS_OF_GIT)
    if program is None:
        return None
    environment = {"PATH": _FOLDERS_OF_GIT, "HOME": str(Path.home()), "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}

    def git(*arguments: str) -> str:
        command = [program, "-c", "core.fsmonitor=false", "-C", str(package), *arguments]
        answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=10, check=True)
        return answer.stdout.strip()

    # Asking about the package's own file keeps us from naming the commit of a project that merely contains our
    # installation. What else lies in the checkout, such as the folder of logs, is no part of the code.
    parts = [place for place in (package, package.parents[1] / "conf") if place.is_dir()]
    try:
        git("ls-files", "--error-unmatch", "__init__.py")
        commit = git("describe", "--always", "--exclude=*", "--abbrev=7")
        changed = git("status", "--porcelain", "--untracked-files=normal", "--", *map(str, parts))
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}+dirty" if changed else commit
