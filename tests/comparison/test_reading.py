from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from genlab.comparison.reading import find_result_files, read_results
from tests.comparison.results import result, write


def test_what_is_no_result_is_listed_with_its_reason_and_skipped(tmp_path: Path) -> None:
    write(tmp_path / "good.json")
    broken = {
        "cut.json": '{"schema": 1,',
        "empty.json": "",
        "bytes.json": "\ufeff\x00",
        "foreign.json": '{"accuracy": 0.9}',
        "list.json": "[1]",
        "text.json": '"schema"',
        "deep.json": "[" * 100_000,
        "newer.json": json.dumps(result(schema=2)),
        "older.json": json.dumps({key: value for key, value in result().items() if key != "seed"}),
        "infinite.json": json.dumps(result(quality__fid=3.25)).replace("3.25", "1e999"),
        "nan.json": json.dumps(result(quality__fid=math.nan)),
    }
    for name, text in broken.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "dangling.json").symlink_to("nowhere")
    results, skipped = read_results([tmp_path, tmp_path / "missing"])
    assert [Path(item.path or "").name for item in results] == ["good.json"]
    reasons = {Path(item.path).name: item.reason for item in skipped}
    assert set(reasons) == {*broken, "dangling.json", "missing"}
    assert all(reasons.values())
    assert "layout 2, this version of genlab reads 1" in reasons["newer.json"]
    assert reasons["older.json"] == "seed is not there"
    assert reasons["foreign.json"] == "it is no result of genlab: it has no schema number"
    assert reasons["infinite.json"].startswith("quality.fid is inf")
    assert reasons["missing"] == "there is no such file or folder"
    assert "No such file" in reasons["dangling.json"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root opens every folder")
def test_a_closed_folder_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    results, skipped = read_results([tmp_path])
    assert (results, [item.reason for item in skipped]) == ([], ["Permission denied"])


def test_of_a_run_only_its_results_are_read(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "mnist" / "flow" / "3f2a91cc-s0"
    expected = {write(run / "results" / "quick.json"), write(run / "results" / "quick.last.json")}
    (run / "config.yaml").touch()
    for other in ("wandb/config.json", "checkpoints/x.json", "samples/x.json", "run.json"):
        write(run / other)
    write(tmp_path / "sweeps" / "x.json")
    write(tmp_path / ".hidden" / "x.json")
    write(tmp_path / "results" / "kept" / "quick.json")
    found = {Path(path) for path in find_result_files([tmp_path], [])}
    assert found == {*expected, tmp_path / "results" / "kept" / "quick.json"}


def test_links_are_followed_once_and_circles_end(tmp_path: Path) -> None:
    kept = write(tmp_path / "elsewhere" / "quick.json")
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "linked").symlink_to(kept.parent)
    (kept.parent / "back").symlink_to(logs)
    assert find_result_files([logs, logs], []) == [str(logs / "linked" / "quick.json")]
    assert find_result_files([kept], []) == [str(kept)], "a file itself may be given"
