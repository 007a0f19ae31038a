"""How a machine is divided among jobs."""

from __future__ import annotations

import pytest

from genlab.core.errors import GenlabError
from genlab.sweeps import places
from genlab.sweeps.places import Place, make_places, visible_gpus


def gpus_of(made: list[Place]) -> list[str | None]:
    return [place.environment.get("CUDA_VISIBLE_DEVICES") for place in made]


def test_each_group_of_gpus_is_a_place() -> None:
    gpus = ["0", "1", "2", "3", "4"]
    assert gpus_of(make_places(None, 1, gpus)) == gpus
    assert gpus_of(make_places(None, 2, gpus)) == ["0,1", "2,3"], "the one that is left over is too few"
    assert gpus_of(make_places(2, 1, gpus)) == ["0", "1"]
    assert gpus_of(make_places(4, 2, gpus)) == ["0,1", "2,3", "0,1", "2,3"], "more jobs share in turn"
    shared = make_places(4, 1, ["0"], range(8), environment={})
    assert gpus_of(shared) == ["0"] * 4, "also one that is alone"
    assert {place.environment["OMP_NUM_THREADS"] for place in shared} == {"2"}, "each with its share of the threads"
    assert [place.name for place in make_places(None, 2, gpus)] == ["GPUs 0, 1", "GPUs 2, 3"]
    assert all(place.cores is None for place in make_places(None, 1, gpus, range(10)))


def test_jobs_on_the_cpu_share_the_cores_and_one_alone_has_the_machine() -> None:
    assert make_places(None, cores=range(8)) == [Place()], "as a single run: no setting at all"
    assert make_places(1, cores=range(8)) == [Place()]
    made = make_places(3, cores=range(8), environment={})
    assert [place.cores for place in made] == [(0, 1), (2, 3, 4), (5, 6, 7)]
    assert [place.environment["OMP_NUM_THREADS"] for place in made] == ["2", "3", "3"]
    assert [place.environment["MKL_NUM_THREADS"] for place in made] == ["2", "3", "3"]
    assert [place.cores for place in make_places(3, cores=[4, 9], environment={})] == [(4,), (9,), (4,)]


def test_fewer_threads_that_the_user_asks_for_stay_as_they_are() -> None:
    given = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "64"}
    (first, *_) = make_places(2, cores=range(8), environment=given)
    assert first.environment == {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "4"}


@pytest.mark.parametrize(
    ("visible", "gpus"),
    [
        ("", []),
        ("-1", []),
        ("2", ["2"]),
        (" 2, 0 ", ["2", "0"]),
        ("1,-1,0", ["1"]),
        ("MIG-a/1/2,3", ["MIG-a/1/2", "3"]),
    ],
)
def test_only_what_the_user_left_visible_is_used(
    monkeypatch: pytest.MonkeyPatch, visible: str, gpus: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert visible_gpus() == gpus


def test_without_that_all_gpus_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(places, "_count_gpus", lambda: 3)
    assert visible_gpus() == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"jobs": 0}, "hydra.launcher.jobs is 0, expected a whole number of at least 1."),
        ({"jobs": "two"}, "hydra.launcher.jobs is two, expected"),
        ({"jobs": None, "gpus_per_job": -1}, "hydra.launcher.gpus_per_job is -1, expected"),
        ({"jobs": None, "gpus_per_job": 4, "gpus": ["5", "6"]}, r"is 4, but 2 GPUs can be seen here \(5, 6\)."),
    ],
)
def test_what_cannot_be_is_said(arguments: dict, said: str) -> None:
    with pytest.raises(GenlabError, match=said):
        make_places(**arguments)
