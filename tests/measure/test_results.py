from __future__ import annotations

import copy
import json
import math
import pickle
from pathlib import Path
from typing import Any

import pytest

from genlab.core.errors import GenlabError
from genlab.measure.result import Result, ResultError
from genlab.measure.results import new_result, parse_result, read_result, write_result
from genlab.runs.code import Code, this_code
from genlab.runs.folder import RunDir

ROOT = Path(__file__).parents[2]
LIKELIHOOD = {
    "bits_per_dim": 2.25, "bits_per_dim_se": 0.01, "nats": 99.8, "nats_se": 0.4, "kind": "dequantized-8",
    "of": "p(x)", "examples": 297, "draws": 8,
    "one_draw": {"bits_per_dim": 2.3, "bits_per_dim_se": 0.01, "nats": 101.8, "nats_se": 0.4, "kind": "dequantized-1"},
}  # fmt: skip
DELETE = object()


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "3f2a91cc-s0")


@pytest.fixture
def result() -> dict[str, Any]:
    """The content of a valid file."""
    return new_result(
        run_id="3f2a91cc-s0",
        config_hash="3f" * 32,
        command="python train.py model=flow data=digits",
        model={"name": "flow", "family": "flow", "variant": "affine", "parameters": 1000},
        data={
            "name": "digits", "split": "test", "modality": "image", "shape": [1, 8, 8], "levels": 17, "num_classes": 10,
        },
        seed=0,
        training={
            "examples_seen": 5000, "optimizer_steps": 40, "wall_seconds": 3.5, "device": "cpu", "precision": "32-true",
            "peak_memory_bytes": 10**8, "examples_per_second": 1400.0, "stopped_by": "budget.examples",
            "checkpoint": "best",
        },
        likelihood=dict(LIKELIHOOD),
        likelihood_last=dict(LIKELIHOOD),
        quality={
            "fid": 12.5, "kid": -0.001, "kid_sd": 0.002, "precision": 0.5, "recall": 0.25, "density": 1.2,
            "coverage": 1.0, "extractor": "digits-64", "extractor_sha256": "ab" * 32, "n_real": 297, "n_fake": 1000,
            "reference_split": "test",
        },
        sampling={"nfe": 1, "ms_per_sample": 0.5, "batch_size": 256},
        protocol={"name": "quick", "hash": "0123abcd"},
        reference={"true_entropy_nats": 3.25},
    ).as_dict()  # fmt: skip


def put(result: dict[str, Any], key: str, value: object) -> dict[str, Any]:
    result = copy.deepcopy(result)
    *sections, name = key.split(".")
    place = result
    for section in sections:
        place = place[section]
    if value is DELETE:
        del place[name]
    else:
        place[name] = value
    return result


def test_result_comes_back_as_it_was(run: RunDir, result: dict[str, Any]) -> None:
    path = write_result(run, Result.of(result))
    assert path == run.results / "quick.json"
    assert [file.name for file in run.results.iterdir()] == ["quick.json"]
    assert read_result(path).as_dict() == result
    assert json.loads(path.read_text()) == result
    assert run.is_finished


def test_a_file_that_is_read_and_written_again_is_the_same(run: RunDir, result: dict[str, Any]) -> None:
    """Whole numbers stay whole, and what may be left out and is does not come in as null."""
    result = put(put(result, "sampling.nfe", 35), "training.wall_seconds", 3)
    text = write_result(run, Result.of(result)).read_text()
    assert '"nfe": 35,' in text
    assert '"wall_seconds": 3,' in text
    assert "mifid" not in text
    assert "quality_last" not in text
    assert write_result(run, parse_result(text.encode())).read_text() == text


def test_every_kept_result_reads_and_would_be_written_key_for_key() -> None:
    others = (ROOT / "results", ROOT / "results" / "detect")  # of benchmarks, and of a use: no results of runs
    kept = [path for path in (ROOT / "results").rglob("*.json") if path.parent not in others]
    assert len(kept) > 50
    for path in kept:
        assert read_result(path).as_dict() == json.loads(path.read_text()), path


def test_a_result_survives_pickling(result: dict[str, Any]) -> None:
    """Launchers send what a job returns to another process."""
    made = Result.of(result)
    assert pickle.loads(pickle.dumps(made)) == made


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ode", {"solver": "dopri5", "rtol": 1e-3, "atol": 1e-3, "trace": "hutchinson", "probes": 1}),
        ("ode", {"solver": "heun", "steps": 50, "trace": "exact"}),
        ("vlb", {"steps": 250}),
        ("vlb", {"noise_levels": 250}),
    ],
)
def test_how_an_estimate_was_computed_may_stand_beside_it(result: dict[str, Any], key: str, value: object) -> None:
    result["likelihood"] |= {"kind": key, key: value}
    assert Result.of(result).as_dict() == result


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("ode", {"solver": "heun", "steps": 50, "trace": "exact"}, "heun, 50 steps; exact trace"),
        (
            "ode",
            {"solver": "dopri5", "rtol": 1e-3, "atol": 1e-4, "trace": "hutchinson", "dequantization_draws": 1},
            "dopri5, rtol 0.001, atol 0.0001; trace by Hutchinson with 1 probe for each example; "
            "1 draw of dequantization noise",
        ),
        ("vlb", {"steps": 250}, "a process of 250 steps"),
        ("vlb", {"noise_levels": 250}, "continuous time, 250 noise levels for each example"),
        ("draws", 1, ""),
    ],
)
def test_how_a_likelihood_was_computed_in_words(result: dict[str, Any], key: str, value: object, words: str) -> None:
    result["likelihood"] |= {"kind": "dequantized-ode", key: value}
    made = Result.of(result)
    assert made.likelihood is not None
    assert made.likelihood.how == words


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("schema", 2),
        ("schema", True),
        ("run_id", ""),
        ("config_hash", "xyz"),
        ("created", "yesterday"),
        ("seed", "0"),
        ("seed", True),
        ("surprise", 1),
        ("model", None),
        ("model.parameters", -1),
        ("model.parameters", 1.5),
        ("model.surprise", 1),
        ("data.modality", ""),
        ("data.shape", [1, 0]),
        ("data.shape", "1x8x8"),
        ("data.levels", 1),
        ("training.stopped_by", None),
        ("likelihood.kind", "exactly"),
        ("likelihood.draws", 0),
        ("likelihood.ode", {"solver": "heun", "steps": 0, "trace": "exact"}),
        ("likelihood.ode", {"solver": "heun"}),
        ("likelihood.vlb", {"noise_levels": 0}),
        ("likelihood.one_draw", {}),
        ("likelihood_last.examples", DELETE),
        ("quality.precision", 1.5),
        ("quality.fid", "12"),
        ("quality.n_fake", DELETE),
        ("quality.fid", True),
        ("quality.fod", 1.0),
        ("quality.density", -0.1),
        ("quality.missing_classes", 1.5),
        ("quality.recall_by_class", [0.5, 2.0]),
        ("quality.recall_by_class", 0.5),
        ("quality.inception_sha256", "abc"),
        ("sampling", []),
        ("protocol.name", "../quick"),
        ("reference", DELETE),
        ("missing", {"quality.fid": ""}),
        ("missing", {"quality.fid": 1}),
    ],
)
def test_what_is_wrong_is_refused_with_its_key(result: dict[str, Any], key: str, value: object) -> None:
    wrong = put(result, key, value)
    with pytest.raises(ResultError, match=key.replace(".", r"\.")):
        Result.of(wrong)
    with pytest.raises(ResultError):
        parse_result(json.dumps(wrong).encode())


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("quality.fid", "12", "quality.fid is a str, expected a number"),
        ("quality.precision", 1.5, "quality.precision is 1.5, expected at most 1.0"),
        ("quality.precision", -0.5, "quality.precision is -0.5, expected at least 0.0"),
        ("data.shape", [1, 0], "data.shape[1] is 0, expected at least 1"),
        ("likelihood.of", "p", "likelihood.of is 'p', expected one of 'p(x)' or 'p(x|y)'"),
        ("seed", DELETE, "seed is not there"),
        ("model.surprise", 1, "model.surprise is no key of a result"),
        ("model", None, "model is a NoneType, expected an object"),
        ("run_id", "", "run_id is '', expected a text that is not empty"),
        ("protocol.hash", "xyz", "protocol.hash is 'xyz', expected the form ^[0-9a-f]+$"),
    ],
)
def test_a_line_says_what_was_given_and_what_is_expected(
    result: dict[str, Any], key: str, value: object, line: str
) -> None:
    with pytest.raises(ResultError) as error:
        Result.of(put(result, key, value))
    assert error.value.problems == [line]
    with pytest.raises(ResultError) as error:
        parse_result(json.dumps(put(result, key, value)).encode())
    assert error.value.problems == [line]


def test_every_key_that_is_wrong_has_its_line(result: dict[str, Any]) -> None:
    with pytest.raises(ResultError) as error:
        Result.of(put(put(result, "seed", "0"), "quality.fid", math.nan))
    assert [line.partition(" ")[0] for line in error.value.problems] == ["seed", "quality.fid"]


@pytest.mark.parametrize("section", ["", "model", "data", "training", "likelihood", "quality", "sampling", "protocol"])
def test_every_key_of_a_section_is_asked_for(result: dict[str, Any], section: str) -> None:
    optional = {"": {"software", "code_sha256"}, "likelihood": {"one_draw"}}
    for name in set(result[section] if section else result) - optional.get(section, set()):
        key = f"{section}.{name}" if section else name
        with pytest.raises(ResultError, match=f"{key} is not there"):
            Result.of(put(result, key, DELETE))


def test_a_result_cannot_be_changed(result: dict[str, Any]) -> None:
    made = Result.of(result)
    with pytest.raises(ValueError, match="frozen"):
        made.seed = 1  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        made.quality.fid = 0.0  # type: ignore[union-attr]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "key", ["quality.fid", "likelihood.nats", "training.wall_seconds", "reference.true_entropy_nats"]
)
def test_no_figure_is_nan_or_infinite(result: dict[str, Any], key: str, value: float) -> None:
    for reasons in ({}, {key: "it diverged"}):
        wrong = put(put(result, key, value), "missing", reasons)
        with pytest.raises(ResultError, match=key.replace(".", r"\.") + " is -?(nan|inf)"):
            Result.of(wrong)
        with pytest.raises(ResultError, match=key.replace(".", r"\.") + " is -?(nan|inf)"):
            parse_result(json.dumps(wrong).encode())


@pytest.mark.parametrize(
    "key", ["quality", "quality.fid", "likelihood", "likelihood_last", "training.peak_memory_bytes", "sampling.nfe"]
)
def test_null_figure_needs_a_reason(run: RunDir, result: dict[str, Any], key: str) -> None:
    unknown = put(result, key, None)
    with pytest.raises(ResultError, match=f"{key} is null without a reason"):
        Result.of(unknown)
    with pytest.raises(ResultError, match=f"{key} is null without a reason"):
        Result.of(put(unknown, "missing", {"seed": "no reason for this key"}))
    with pytest.raises(ResultError, match=r"missing\.[a-z_.]* is ''"):
        Result.of({**unknown, "missing": {key: ""}})
    explained = put(unknown, "missing", {key: "not measured"})
    read = read_result(write_result(run, Result.of(explained)))
    assert read.as_dict() == explained
    assert read.reason(key) == "not measured"


def test_one_reason_serves_a_whole_section(result: dict[str, Any]) -> None:
    for name in result["quality"]:
        result["quality"][name] = None
    result["missing"] = {"quality": "no extractor for this data"}
    assert Result.of(result).reason("quality.fid") == "no extractor for this data"


@pytest.mark.parametrize("key", ["likelihood.nats", "likelihood", "quality.fod"])
def test_reason_for_a_figure_that_is_there_is_refused(result: dict[str, Any], key: str) -> None:
    unknown = put(result, "quality.fid", None)
    with pytest.raises(ResultError, match=f"reason for {key}, which is not null"):
        Result.of(put(unknown, "missing", {"quality.fid": "too few examples", key: "stale"}))


def test_continuous_data_without_labels_needs_no_reason(result: dict[str, Any]) -> None:
    assert Result.of(put(put(result, "data.levels", None), "data.num_classes", None)).data.levels is None


def test_written_again_replaces_and_a_failure_keeps_the_old(
    run: RunDir, result: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_result(run, Result.of(result))
    write_result(run, Result.of(put(result, "seed", 1)))
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        write_result(run, Result.of(put(result, "seed", 2)))
    assert read_result(path).seed == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no JSON"),
        ('{"schema": 1,', "no JSON"),
        (b"\xff\xfe", "no JSON"),
        ("[1]", "no schema number"),
        ("{}", "no schema number"),
        ('{"schema": "1"}', "no schema number"),
        ('{"schema": true}', "no schema number"),
        ('{"schema": 2}', "layout 2, this version of genlab reads 1"),
        ('{"schema": 1}', "code_version is not there"),
    ],
)
def test_foreign_or_broken_file_is_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = tmp_path / "quick.json"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(GenlabError, match=message) as error:
        read_result(path)
    assert str(path) in str(error.value)


def test_altered_figure_is_refused(run: RunDir, result: dict[str, Any]) -> None:
    path = write_result(run, Result.of(result))
    path.write_text(path.read_text().replace('"fid": 12.5', '"fid": NaN'))
    with pytest.raises(GenlabError, match=r"quality\.fid is nan"):
        read_result(path)


def test_missing_result_is_named(tmp_path: Path) -> None:
    with pytest.raises(GenlabError, match=r"no result .*quick\.json"):
        read_result(tmp_path / "quick.json")


def test_a_result_says_which_code_trained_and_which_measured(result: dict[str, Any]) -> None:
    now = this_code()
    assert Result.of(result).measured_by == now
    assert Result.of(result).trained_by == (now,), "as long as no other is known"
    before = put(result, "training.code", [{"version": "unknown"}, {"version": "0.0.1", "sha256": "ab" * 32}])
    assert parse_result(json.dumps(before).encode()).trained_by == (Code("unknown"), Code("0.0.1", "ab" * 32))
    assert Result.of(put(result, "code_sha256", DELETE)).trained_by == (Code(now.version),), "an older file"


@pytest.mark.parametrize(
    ("changes", "checkpoint"),
    [
        ({}, "best"),
        ({"training.checkpoint": "last"}, "last"),
        ({"training.examples_seen": 0}, "none"),
        ({"likelihood": None, "likelihood_last": None, "quality": None}, "last"),
        ({"likelihood": None, "likelihood_last": None}, "best"),
        ({"quality": None}, "best"),
        ({"likelihood": None, "likelihood_last": None, "quality": None, "training.code": [{"version": "x"}]}, "best"),
    ],
)
def test_results_of_earlier_versions_do_not_say_best_where_nothing_chose(
    result: dict[str, Any], changes: dict[str, Any], checkpoint: str
) -> None:
    for key, value in changes.items():
        result = put(result, key, value)
        if value is None:
            result["missing"][key] = "sample quality needs a feature extractor, and there is none for it"
    assert Result.of(result).checkpoint == checkpoint
