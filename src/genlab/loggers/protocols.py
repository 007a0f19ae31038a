"""What a logger may do besides numbers, and what every logger must do first: hide secrets and flatten."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

__all__ = [
    "REDACTED",
    "ClosesRun",
    "LogsPicture",
    "LogsResult",
    "RunStatus",
    "flatten",
    "redact",
    "redact_text",
    "result_figures",
]

#: How a run ended.
RunStatus = Literal["finished", "failed", "interrupted"]

#: What stands where a secret was.
REDACTED = "***"


@runtime_checkable
class LogsPicture(Protocol):
    """A logger that shows pictures."""

    def log_picture(self, name: str, path: Path, examples_seen: int) -> None:
        """Show a picture.

        Args:
            name: What it shows, e.g. ``"samples"``; pictures of one name form a series.
            path: A PNG file.
            examples_seen: Number of training examples seen when it was drawn.
        """
        ...


@runtime_checkable
class LogsResult(Protocol):
    """A logger that shows the result of a run."""

    def log_result(self, result: Mapping[str, Any]) -> None:
        """Show a result.

        Args:
            result: What stands in ``results/<protocol>.json``.
        """
        ...


@runtime_checkable
class ClosesRun(Protocol):
    """A logger that must be told that the run is over."""

    def close(self, status: RunStatus) -> None:
        """Write out what is pending and stop; a second call does nothing.

        Args:
            status: How the run ended.
        """
        ...


_SECRET_WORDS = frozenset({"password", "passwd", "passphrase", "secret", "secrets", "credential", "credentials"})
# "key" and "token" are everyday words of machine learning (key_dim, num_tokens, mask_token): they mean a secret only
# as the last word of a name and with text as the value.
_SECRET_ENDINGS = frozenset({"key", "apikey", "token"})
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_URL_PASSWORD = re.compile(r"(://[^/\s:@]*:)[^/\s@]+@")
# A shorter value of a secret variable ("1", "test") would be found all over the place.
_SHORTEST_SECRET = 8


def redact(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a configuration without secrets, to be saved or shown.

    Hidden are: values whose key is a password, secret or credential; texts whose key ends in ``key`` or ``token``;
    passwords within addresses; and, wherever it stands, the value of an environment variable with such a name.

    Args:
        config: Plain containers, as ``OmegaConf.to_container(config, resolve=True)`` gives them.
    """
    known = _secrets_of_environment()
    return {key: _redacted(value, str(key), known) for key, value in config.items()}


def redact_text(text: str) -> str:
    """Return a text without the passwords in addresses and without the secrets that the environment holds."""
    return _clean(text, _secrets_of_environment())


def _redacted(value: Any, key: str, known: list[str]) -> Any:
    if isinstance(value, Mapping):
        return {name: _redacted(item, str(name), known) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(item, key, known) for item in value]
    if value is None or isinstance(value, bool):
        return value
    words = [word.lower() for word in _WORD.findall(key)]
    if _SECRET_WORDS.intersection(words):
        return REDACTED
    if not isinstance(value, str):
        return value
    return REDACTED if words and words[-1] in _SECRET_ENDINGS and value else _clean(value, known)


def _clean(text: str, known: list[str]) -> str:
    for secret in known:
        text = text.replace(secret, REDACTED)
    return _URL_PASSWORD.sub(rf"\1{REDACTED}@", text)


def _secrets_of_environment() -> list[str]:
    return [
        value
        for name, value in os.environ.items()
        if len(value) >= _SHORTEST_SECRET and _redacted(value, name, []) == REDACTED
    ]


def flatten(tree: Mapping[str, Any], separator: str = ".") -> dict[str, Any]:
    """Return nested sections as one level of keys, e.g. ``{"model.lr": 1e-3}``; a list stays one value."""
    return dict(_leaves(tree, "", separator))


def _leaves(tree: Mapping[str, Any], prefix: str, separator: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}{separator}", separator)
        else:
            yield f"{prefix}{key}", value


def result_figures(result: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures of a result under the names of a dashboard, e.g. ``test/bits_per_dim``.

    Likelihood and quality stand under the name of the split, those of the last checkpoint under ``<split>/last``, the
    other sections under their own names. What is missing is left out, never 0.

    Args:
        result: What stands in ``results/<protocol>.json``.
    """
    split = result["data"]["split"].split(" ")[0]  # what stands behind the name says how the split was made
    prefixes = {
        "likelihood": split,
        "likelihood_last": f"{split}/last",
        "quality": split,
        "quality_last": f"{split}/last",
        "sampling": "sampling",
        "training": "training",
        "model": "model",
        "reference": "reference",
    }
    return {
        f"{prefix}/{name}": value
        for section, prefix in prefixes.items()
        for name, value in flatten(result.get(section) or {}, separator="/").items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
