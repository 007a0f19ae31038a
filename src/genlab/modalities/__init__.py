"""Kinds of data, one file each: how examples are stored, drawn and judged."""
