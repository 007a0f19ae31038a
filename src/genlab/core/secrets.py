"""Secrets, hidden wherever something is saved or shown."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["REDACTED", "redact", "redact_text"]


#: What stands where a secret was.
REDACTED = "***"


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
