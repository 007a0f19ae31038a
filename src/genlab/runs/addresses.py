"""Addresses of exports and models on the Hugging Face Hub: ``hf://user/name``, or ``hf://user/name@revision``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from genlab.core.errors import GenlabError, shown

__all__ = ["Address", "is_address"]

_SCHEME = "hf://"
_WORD = "[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}"
_ADDRESS = re.compile(rf"(?P<repo>{_WORD}/{_WORD})(@(?P<revision>[A-Za-z0-9][A-Za-z0-9._/-]{{0,199}}))?")
_COMMIT = re.compile("[0-9a-f]{40}")


def is_address(text: Path | str) -> bool:
    """Whether a text is meant as an address on the Hub, and not as a path."""
    return isinstance(text, str) and text.startswith(_SCHEME)


@dataclass(frozen=True)
class Address:
    """Where an export or a model lies on the Hub.

    Attributes:
        repo: ``user/name``.
        revision: A branch, tag or commit; None: the newest.
    """

    repo: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read an address.

        Raises:
            GenlabError: If it is none.
        """
        found = _ADDRESS.fullmatch(text.removeprefix(_SCHEME))
        words = re.split("[/@]", text.removeprefix(_SCHEME))
        if not found or any(not word or word[-1] in ".-" or ".." in word for word in words):
            raise GenlabError(f"'{shown(text)}' is no address, expected hf://user/name or hf://user/name@revision.")
        if "--" in found["repo"] or found["repo"].endswith(".git"):
            raise GenlabError(f"'{shown(text)}' is no address: names have no '--', and no '.git' at the end.")
        return cls(found["repo"], found["revision"])

    @property
    def commit(self) -> str | None:
        """The commit, where the revision is one."""
        return self.revision if self.revision is not None and _COMMIT.fullmatch(self.revision) else None

    def at(self, commit: str) -> Address:
        """Return the address of one commit, whose files never change."""
        if not _COMMIT.fullmatch(commit):
            raise ValueError(f"{commit!r} is no commit.")
        return Address(self.repo, commit)

    def __str__(self) -> str:
        return f"{_SCHEME}{self.repo}" + (f"@{self.revision}" if self.revision else "")
