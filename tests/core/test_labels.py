"""Labels are cut where they are alike, and never where they differ."""

from __future__ import annotations

import pytest

from genlab.core.labels import tell_apart


@pytest.mark.parametrize(
    ("labels", "short"),
    [
        (["flow", "gan"], ["flow", "gan"]),
        (
            ["flow (multiscale-spline, budget.minutes=20)", "flow (multiscale-spline, budget.minutes=10)"],
            ["flow…budget.minutes=20)", "flow…budget.minutes=10)"],
        ),
        (
            ["diffusion (unet, noise.mean=-1.25)", "diffusion (unet, noise.mean=-1.3)", "diffusion (unet, steps=5)"],
            ["diffusion…mean=-1.25)", "diffusion…mean=-1.3)", "diffusion…steps=5)"],
        ),
        (["a" * 40 + "1", "a" * 40 + "2"], ["…" + "a" * 22 + "1", "…" + "a" * 22 + "2"]),
        (["x" * 30, "y" * 30], ["x" * 23 + "…", "y" * 23 + "…"]),
        (["x" * 30, "x" * 30], ["x" * 23 + "…", "x" * 23 + "…"]),
        ([], []),
    ],
)
def test_labels_that_differ_still_do(labels: list[str], short: list[str]) -> None:
    assert tell_apart(labels, 24) == short


@pytest.mark.parametrize("longest", [16, 24, 40])
def test_however_many_and_long_they_fit_and_differ(longest: int) -> None:
    labels = [
        f"{model} (a network of many words, model.optimizer.lr={lr}, model.sampler.steps={steps}, and more words)"
        for model in ("flow", "diffusion")
        for lr in (0.1, 0.01, 0.001)
        for steps in (5, 50)
    ]
    short = tell_apart(labels[::2], longest)
    assert max(map(len, short)) <= longest
    assert len(set(short)) == len(short)
