from __future__ import annotations

from genlab.comparison.cells import notes
from tests.comparison.results import compared, run


def test_a_model_whose_seeds_are_of_different_code_is_named_once() -> None:
    def said(*seeds: tuple[int, int, str]) -> str:
        runs = (run(n, seed, model__name=f"m{n}", code_version=version) for n, seed, version in seeds)
        (group,) = compared(*runs).groups
        return next(note for note in notes(group) if "code" in note)

    start = "Rows come from different code: "
    line = said((1, 0, "a"), (2, 0, "a"), (2, 1, "b"), (3, 0, "b"), (3, 1, "a"), (4, 0, "b"))
    assert line == f"{start}m1 by a; m2 and m3 partly by a, partly by b; m4 by b."
    assert said((1, 0, "a"), (1, 1, "b")) == f"{start}m1 partly by a, partly by b."
    subsets = ("ab", "ac", "bc", "abc", "a", "b", "c")
    line = said(*((n, seed, code) for n, codes in enumerate(subsets) for seed, code in enumerate(codes)))
    assert line.endswith("; m4 by a; others by several of these."), "no further version is there"


def test_the_main_figures_come_first_in_a_list_of_what_is_missing() -> None:
    lost = ("kid", "precision", "recall", "density", "coverage", "fid")  # FID last, as in results
    nulls = {f"quality__{key}": None for key in (*lost, "kid_sd")}
    names = [f"m{number}" for number in range(6)]
    (group,) = compared(*(run(number, model__name=name, **nulls) for number, name in enumerate(names))).groups
    (note,) = (note for note in notes(group) if "not measured" in note)
    models = "m0, m1, m2, m3, m4 and m5"
    assert note == f"No FID, KID, precision, recall, coverage and density of {models}: not measured."
    (group,) = compared(run(**nulls, sampling__nfe=None, likelihood=None)).groups
    (note,) = (note for note in notes(group) if "not measured" in note)
    assert note == "No likelihood, FID, KID, precision, recall and 3 more of flow: not measured."


def test_that_recall_by_class_is_of_few_examples_is_said_once() -> None:
    def said(real: int, classes: int = 10) -> list[str]:
        recalls = {"quality__n_real": real, "quality__recall_by_class": [0.5] * classes}
        (group,) = compared(*(run(number, **recalls) for number in range(3))).groups
        return [note for note in notes(group) if "examples" in note]

    assert said(191) == [
        "Recall by class, in the HTML report, is of few examples: 191 in 10 classes, 19 each on average."
    ]
    assert said(300) == []
    assert len(said(299)) == 1
    (group,) = compared(run(quality__n_real=20)).groups
    assert not [note for note in notes(group) if "examples" in note], "there are no classes"
