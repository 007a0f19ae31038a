"""Text of others, made harmless for whatever shows it."""

from __future__ import annotations

__all__ = ["visible"]


def visible(text: str) -> str:
    r"""Return a text of one line in which every character can be seen.

    Result files come from anywhere. A control character would act on the terminal, one that turns the direction of
    writing would show another name, and half of a surrogate pair can be written to no file: each of them becomes its
    number, as ``\x1b``. White space of any kind becomes blanks.
    """
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character.isspace() else character.encode("unicode_escape").decode()
