"""What a page shows that models compute: samples, ways between examples, latents, drawings. Imports torch."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from genlab.command.explorer import pictures
from genlab.command.explorer.asked import Decode, Draw, Examples, Interpolate, Latents, Sample
from genlab.command.explorer.commands import command, drawing_code, latents_code
from genlab.command.explorer.lab import Lab, Opened
from genlab.core.batch import Batch
from genlab.core.errors import GenlabError
from genlab.core.hardware import full_float32
from genlab.core.likelihood import bits_per_dim
from genlab.core.randomness import some_of
from genlab.modalities import modality_of
from genlab.uses import interpolate as ways
from genlab.uses.catalogue import USES, require
from genlab.uses.codes import as_examples, decode
from genlab.uses.detect import evidence as scored
from genlab.uses.detect.scores import SCORES, lacks_likelihood
from genlab.uses.reconstruct import reconstruct
from genlab.uses.sample import check_label
from genlab.uses.sample import sample as draw_samples
from genlab.uses.traverse import traverse

__all__ = ["decode_latents", "draw", "examples", "interpolate", "latents", "sample"]

LATENTS, STEPS, REACH, OTHERS = 8, 9, 3.0, 64
"""As `traverse` has them by default."""

AROUND = 500
"""Real points around those of a sample."""

WITHOUT = ("likelihood_ratio", "neighbour")
"""Scores that a drawing does not get: one needs a second model, the other the features of all training examples."""


def _told(opened: Opened, started: float) -> dict[str, Any]:
    """Return what is said of a run with everything that it made."""
    model, spec = opened.model, opened.model.spec
    return {
        "seconds": round(time.perf_counter() - started, 3),
        "data": spec.name,
        "shape": list(spec.shape),
        "levels": spec.levels,
        "labels": model.num_classes if model.conditional else 0,
        "drawable": _is_drawable(opened),
        "uses": [use.name for use in USES.values() if use.can(type(model))],
        "checkpoint": opened.checkpoint,
    }


def _title(opened: Opened) -> str:
    return f"{opened.model.name} on {opened.model.spec.name}, run {opened.place.id}"


def _around(opened: Opened) -> Tensor | None:
    """Return real examples to show beside samples, where one example is so small that it says nothing alone."""
    if modality_of(opened.model.spec).preview_samples_per_image == 1:
        return None
    test = opened.test
    return test.x[some_of(torch.arange(len(test.x)), AROUND)]


def sample(lab: Lab, asked: Sample) -> dict[str, Any]:
    """Draw examples, those that the command draws with the same seed."""
    with lab.using(asked.run) as opened:
        started, model = time.perf_counter(), opened.model
        x = torch.cat(list(draw_samples(model, asked.n, asked.seed, asked.label)))
        seconds = time.perf_counter() - started
        shown = pictures.of_samples(x, model.spec, _title(opened), _around(opened))
        settings = {"n": asked.n, "seed": asked.seed, "label": asked.label, "checkpoint": opened.setting}
        return _told(opened, started) | shown | {
            "command": command("sample", opened.place, **settings),
            "figures": [
                {"label": "network evaluations", "value": f"{float(model.nfe):g}"},
                {"label": "milliseconds each", "value": f"{1000 * seconds / asked.n:.3g}"},
            ],
        }  # fmt: skip


def examples(lab: Lab, asked: Examples) -> dict[str, Any]:
    """Show some test examples to choose from, each with its number and its label."""
    with lab.looking_at(asked.run) as opened:
        started, test = time.perf_counter(), opened.test
        stop = min(asked.start + asked.count, len(test.x))
        some = test.rows(slice(asked.start, stop))
        labels = [None] * len(some.x) if some.y is None else some.y.tolist()
        drawn = pictures.each_alone(some.x, opened.model.spec)
        found = [
            {"number": asked.start + place, "label": label, "picture": picture}
            for place, (label, picture) in enumerate(zip(labels, drawn, strict=True))
        ]
        if _is_drawable(opened):
            for entry, x in zip(found, some.x, strict=True):
                entry["levels"] = x.double().mean(0).round().long().flatten().tolist()
        return _told(opened, started) | {"examples": found, "count": len(test.x)}


def interpolate(lab: Lab, asked: Interpolate) -> dict[str, Any]:
    """Go from one test example to another."""
    with lab.using(asked.run) as opened:
        started, model = time.perf_counter(), opened.model
        require("interpolate", model)
        ends = _ends(opened, asked)
        found = ways.interpolate(model, ends, asked.steps, asked.path)
        shown = pictures.of_rows({"step": found.x}, found.x, model.spec, _title(opened), found.places)
        settings = {"split": "test", "a": asked.a, "b": asked.b, "steps": asked.steps, "path": asked.path}
        return _told(opened, started) | shown | {
            "command": command("interpolate", opened.place, **settings, checkpoint=opened.setting),
            "note": f"Codes: {found.z.shape[1]:,} numbers, {found.kind}.",
        }  # fmt: skip


def _ends(opened: Opened, asked: Interpolate) -> Batch:
    opened.test_rows("a", asked.a)
    opened.test_rows("b", asked.b)
    return opened.test_rows("b", asked.a, asked.b)


def latents(lab: Lab, asked: Latents) -> dict[str, Any]:
    """Rank the latents of a test example as `traverse` does, and say how far each goes and where it is."""
    with lab.using(asked.run) as opened:
        started, model = time.perf_counter(), opened.model
        require("traverse", model)
        test = opened.test
        example = opened.test_rows("example", asked.example)
        others = test.rows(some_of(torch.arange(len(test.x)), OTHERS))
        found = traverse(model, example, others, LATENTS, STEPS, REACH)
        strip = pictures.of_rows(found.rows, None, model.spec, _title(opened), found.places)
        code, total = opened.code(asked.example), sum(found.importance) or 1.0
        values = code[0, found.latents].tolist()
        # A browser moves a slider into its range: one that ended short of the code would change it.
        sliders = [
            {
                "latent": latent, "low": min(float(z[0]), value), "high": max(float(z[-1]), value), "value": value,
                "share": importance / total,
            }
            for latent, value, importance, z in zip(found.latents, values, found.importance, found.z, strict=True)
        ]  # fmt: skip
        now = _decoded(opened, asked.example, found.latents, values)
        settings = {
            "split": "test",
            "example": asked.example,
            "latents": LATENTS,
            "steps": STEPS,
            "reach": f"{REACH:g}",
        }
        return _told(opened, started) | {
            "now": now,
            "strip": strip,
            "sliders": sliders,
            "example": pictures.of_samples(example.x, model.spec, _title(opened), _around(opened)),
            "command": command("traverse", opened.place, **settings, checkpoint=opened.setting),
            "note": f"Codes: {code.shape[1]:,} numbers, {found.kind}. By importance, {found.measure}.",
        }


def decode_latents(lab: Lab, asked: Decode) -> dict[str, Any]:
    """Decode a test example some of whose latents have other values."""
    with lab.using(asked.run) as opened:
        started = time.perf_counter()
        require("traverse", opened.model)
        now = _decoded(opened, asked.example, asked.latents, asked.values)
        return _told(opened, started) | {"now": now}


def _decoded(opened: Opened, example: int, chosen: list[int], values: list[float]) -> dict[str, Any]:
    model, z = opened.model, opened.code(example).clone()
    if len(chosen) != len(values) or any(latent >= z.shape[1] for latent in chosen):
        raise GenlabError(f"latents are {len(chosen)}, with {len(values)} values, of a code of {z.shape[1]:,} numbers.")
    z[0, chosen] = torch.tensor(values)
    like = opened.test_rows("example", example)
    x = as_examples(decode(model, z, like), model.spec, like.mask)
    shown = pictures.of_samples(x, model.spec, _title(opened), _around(opened))
    return shown | {"command": latents_code(opened.place, opened.checkpoint, example, chosen, values)}


def _is_drawable(opened: Opened) -> bool:
    """Whether an example is a small picture in levels of gray or of three colours, which a pen can draw."""
    spec = opened.model.spec
    is_grid = modality_of(spec).layouts[0] == "grid" and len(spec.shape) == 3 and spec.shape[0] in (1, 3)
    return is_grid and spec.levels is not None and spec.levels <= 256 and max(spec.shape[1:]) <= 256


def draw(lab: Lab, asked: Draw) -> dict[str, Any]:
    """Say what a model makes of a drawing: its reconstruction, its likelihood, and how unusual it is."""
    with lab.using(asked.run) as opened:
        started, model, spec = time.perf_counter(), opened.model, opened.model.spec
        check_label(model, asked.label)
        batch = Batch(_drawn(opened, asked.levels), None if asked.label is None else torch.tensor([asked.label]))
        back, why_none = None, None
        try:
            if model.conditional and asked.label is None:
                raise GenlabError("This model is told labels: give the drawing one, to see its reconstruction.")
            found = reconstruct(model, batch)
            back = pictures.of_samples(found.back, spec, _title(opened))
            figures = [{"label": f"reconstruction {name}", "value": f"{float(error):.4g}"}
                       for name, error in found.errors.items()]  # fmt: skip
        except GenlabError as error:
            why_none, figures = str(error), []
        likelihood, scores = _scores(opened, batch)
        return _told(opened, started) | {
            "back": back,
            "no_back": why_none,
            "figures": [*likelihood, *figures],
            "scores": scores,
            "seen": pictures.of_samples(batch.x, spec, _title(opened)),
            "drawing": pictures.each_alone(batch.x, spec)[0],
            "command": drawing_code(
                opened.place, opened.checkpoint, asked.label, back is not None, likelihood[0]["value"] != "none"
            ),
        }


def _drawn(opened: Opened, levels: list[int]) -> Tensor:
    """Return a drawing as an example ``[1, *spec.shape]``, the same in all colours."""
    spec = opened.model.spec
    if not _is_drawable(opened):
        raise GenlabError(f"Examples of {spec.name} are no small pictures in levels, which one could draw.")
    channels, height, width = spec.shape
    if len(levels) != height * width or max(levels) >= (spec.levels or 0):
        raise GenlabError(
            f"The drawing has {len(levels):,} pixels up to level {max(levels)}, expected {height} x {width} of "
            f"{spec.levels} levels, as {spec.name} has."
        )
    x = torch.tensor(levels).view(1, 1, height, width).expand(1, channels, height, width)
    return x.to(modality_of(spec).dtype(spec)).contiguous()


def _scores(opened: Opened, batch: Batch) -> tuple[list[dict[str, str]], list[dict[str, Any]]]:
    """Return the likelihood of one example, and its scores among those of test examples."""
    shared, test = opened.evidence(), opened.test
    rows = some_of(torch.arange(len(test.x)), min(len(test.x), shared.examples))
    own, drawing = scored.Examples("own", test.rows(rows), 0), scored.Examples("drawing", batch, 3)
    with torch.no_grad(), full_float32():
        if opened.scores is None:
            reasons = {name: score.lacks(shared) for name, score in SCORES.items() if name not in WITHOUT}
            with shared.timetable.phase("its own test examples", len(own)):
                usual = {name: SCORES[name].of(own, shared) for name, reason in reasons.items() if reason is None}
            opened.scores = usual, reasons
        usual, reasons = opened.scores
        # Each drawing has a likelihood and scores of its own, which are not kept.
        evidence = shared.copy()
        with evidence.timetable.phase("a drawing", 1):
            values = {name: float(SCORES[name].of(drawing, evidence)) for name in usual}
            likelihood = _likelihood(opened, drawing, evidence)
    found: list[dict[str, Any]] = []
    for name, reason in reasons.items():
        told = {"name": name, "about": SCORES[name].about}
        if reason is not None:
            found.append(told | {"lacks": reason})
            continue
        below = float((usual[name] < values[name]).double().mean())
        found.append(told | {"value": f"{values[name]:.4g}", "below": below, "of": len(usual[name])})
    return likelihood, found


def _likelihood(opened: Opened, drawing: scored.Examples, evidence: scored.Evidence) -> list[dict[str, str]]:
    model, spec = opened.model, opened.model.spec
    if lacks_likelihood(model, evidence.examples) is not None:  # the scores say why
        return [{"label": "likelihood", "value": "none"}]
    log_prob = scored.log_probs(model, drawing, evidence)
    kind = model.likelihood_kind(evidence.draws) + (", mean over labels" if model.conditional else "")
    found = [{"label": "log-likelihood", "value": f"{float(log_prob):,.2f} nats", "kind": kind}]
    if spec.levels is not None:
        bits = float(bits_per_dim(log_prob, spec.num_dims))
        unit = modality_of(spec).bits_unit(spec)
        found.append({"label": f"NLL ({unit})", "value": f"{bits:.4f}", "kind": kind})
    return found
