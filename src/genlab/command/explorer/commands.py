"""The commands that make again what a page shows, as a shell and Hydra read them, and Python where there is none."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from genlab.runs.folder import RunDir

__all__ = ["command", "drawing_code", "latents_code"]


def command(use: str, run: RunDir | None, **settings: object) -> str:
    """Return ``genlab <use> run=<folder> key=value ...``; what is None is left out."""
    given = ({} if run is None else {"run": run.path}) | settings
    words = [f"{key}={_value(value)}" for key, value in given.items() if value is not None]
    return shlex.join(["genlab", use, *words])


def _value(value: object) -> str:
    """Return a value as Hydra reads it: in quotes where it has other characters than names and numbers."""
    if isinstance(value, list):
        return f"[{','.join(map(_value, value))}]"
    text = str(value)
    if re.fullmatch(r"[A-Za-z0-9_./+-]+", text):
        return text
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", text)  # of backslashes those before a quote count
    ending = re.search(r"\\*$", escaped)
    return f"'{escaped}{ending.group() if ending else ''}'"


_LATENTS = """\
import torch
import genlab
from genlab.command.build import build_datamodule
from genlab.command.config import read_trained
from genlab.runs.finding import find_run
from genlab.uses.codes import as_examples, decode, encode

run = {run!r}
model = genlab.load_run(run, {checkpoint!r})
test = build_datamodule(read_trained(find_run(run))).tensors("test")
example = test.rows(slice({example}, {after}))
z = encode(model, example)
z[0, {latents}] = torch.tensor({values})
x = as_examples(decode(model, z, example), model.spec, example.mask)
"""

_DRAWING = """\
import torch
from pathlib import Path
import genlab
from genlab.core.batch import Batch
from genlab.modalities import modality_of
from genlab.uses.detect.evidence import Evidence, Examples, log_probs
from genlab.uses.reconstruct import reconstruct

model = genlab.load_run({run!r}, {checkpoint!r})
x = modality_of(model.spec).read_one(Path("drawing.png"), model.spec)[None]
drawing = Batch(x{label})
"""
_BACK = """\
back = reconstruct(model, drawing).back
"""
_LOG_PROB = """\
examples = Examples("drawing", drawing, 3)
evidence = Evidence(model, examples, drawing, 1)
with evidence.timetable.phase("drawing", 1):
    log_prob = log_probs(model, examples, evidence)  # nats
"""


def latents_code(run: RunDir, checkpoint: str, example: int, latents: Sequence[int], values: Sequence[float]) -> str:
    """Return Python that decodes a test example with other values of some latents, as ``x``."""
    kept: Mapping[int, float] = dict(zip(latents, values, strict=True))
    settings = {"latents": list(kept), "values": list(kept.values())}
    return _LATENTS.format(run=str(run.path), checkpoint=checkpoint, example=example, after=example + 1, **settings)


def drawing_code(run: RunDir, checkpoint: str, label: int | None, has_code: bool, has_likelihood: bool) -> str:
    """Return Python that reads a drawing that was saved, and makes of it what the model can: ``back``, ``log_prob``."""
    given = "" if label is None else f", torch.tensor([{label}])"
    code = _DRAWING.format(run=str(run.path), checkpoint=checkpoint, label=given)
    return code + (_BACK if has_code else "") + (_LOG_PROB if has_likelihood else "")
