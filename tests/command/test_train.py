"""A run from start to result: repeated, of other code, and broken."""

from __future__ import annotations

import csv
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import genlab
from genlab.command import cli
from genlab.command.finished import find_finished
from genlab.core.errors import GenlabError
from genlab.measure.results import read_result
from genlab.runs import code
from genlab.runs.checkpoints import load_checkpoint
from genlab.runs.code import code_version, this_code
from tests.command.trained import logged, same, weights
from tests.tiny import TINY, composed, run_folder, tiny, train, train_afresh, train_in_a_process


def test_a_run_leaves_what_it_promises(finished: Path) -> None:
    run = run_folder(finished)
    result = read_result(run / "results" / "quick.json")
    assert result.training.examples_seen == 640
    assert result.training.optimizer_steps == 20
    assert result.likelihood.kind == "dequantized-1"
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"last.ckpt", "last.previous.ckpt", "best.ckpt"}
    pictures = {path.name for path in (run / "samples").iterdir()}
    drawn = {"quick.png", "quick_reconstructions.png", "quick_reconstructions.json"}
    assert pictures == {"examples_0000000320.png", "examples_0000000640.png", *drawn}
    rows = list(csv.DictReader((run / "metrics.csv").open()))
    validated = [int(row["examples_seen"]) for row in rows if row.get("val/bits_per_dim")]
    assert validated == [320, 640]
    assert "Tip" not in (run / "train.log").read_text(encoding="utf-8"), "no advertisement"


def test_a_rehearsal_of_the_evaluation_changes_no_bit_of_the_training(finished: Path, tmp_path: Path) -> None:
    prelude = "from genlab.training.callbacks import display; display.SHORTEST_TRAINING = 0"
    done = train_in_a_process(tmp_path, prelude=prelude)
    assert done.returncode == 0, done.stderr
    assert same(weights(tmp_path), weights(finished))
    assert logged(tmp_path) == logged(finished)
    saved = load_checkpoint(run_folder(tmp_path) / "checkpoints" / "last.ckpt")["callbacks"]["ShowProgress"]
    assert {"training", "validating", "likelihood", "samples"} <= saved["paces"].keys()


def test_a_rehearsal_that_fails_ends_no_training(finished: Path, tmp_path: Path) -> None:
    """As that of a network which is too young for an adaptive solver."""
    prelude = """if True:
        from genlab.core.errors import GenlabError
        from genlab.training import foresight
        from genlab.training.callbacks import display
        display.SHORTEST_TRAINING = 0
        def fail(*arguments):
            raise GenlabError("dopri5 found no solution")
        foresight.rehearse = fail"""
    done = train_in_a_process(tmp_path, prelude=prelude)
    assert done.returncode == 0, done.stderr
    assert same(weights(tmp_path), weights(finished))


def test_the_same_command_shows_the_result_and_trains_no_more(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = weights(finished)
    train(finished)
    assert "finished" in capsys.readouterr().out
    assert same(before, weights(finished))


def test_the_answer_of_a_finished_run_needs_no_torch(finished: Path) -> None:
    # A sweep that is started again asks this for every run.
    done = train_afresh(finished, prelude="sys.modules['torch'] = None")
    assert done.returncode == 0, done.stderr
    assert "This run is finished" in done.stdout
    command = [*TINY, f"paths.logs={finished}"]
    found = find_finished(composed(command))
    assert found is not None
    assert found.place.path == run_folder(finished)
    assert found.result.as_dict() == json.loads((found.place.results / "quick.json").read_text())


def be_later_code(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(code, "source_sha256", lambda: "9" * 64)
    patch.setattr(code, "code_version", lambda: "9.9 later")


def test_a_run_of_other_code_says_so_finished_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    arguments = [*tiny("gmm"), f"paths.logs={tmp_path}"]
    with monkeypatch.context() as patch:
        patch.setattr("genlab.command.train.evaluate_run", lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))
        assert cli.train(arguments) == 143
    change = f"trained by other code (then {this_code().version}, now 9.9 later)"
    with monkeypatch.context() as patch:
        be_later_code(patch)
        assert cli.train(arguments) == 0
        assert f"This run was {change}; rerun=true trains afresh.\n" in capfd.readouterr().err
        assert cli.train(arguments) == 0
        out = " ".join(capfd.readouterr().out.split())
        assert f"This run is finished, but it was {change}; rerun=true trains afresh beside it." in out
        (path,) = tmp_path.glob("runs/*/gmm/*/results/*.json")
        result = read_result(path)
    assert (result.trained_by, result.measured_by) == ((this_code(),), code.Code("9.9 later", "9" * 64))
    assert cli.train(arguments) == 0
    assert "but it was measured by other code (then 9.9 later, now" in " ".join(capfd.readouterr().out.split())


def test_weights_of_other_code_are_gone_on_with_only_where_they_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path, model="gmm")
    (path,) = tmp_path.rglob("last.ckpt")
    (result,) = tmp_path.glob("runs/*/gmm/*/results/*.json")
    result.unlink()
    content = load_checkpoint(path)
    content["genlab"]["progress"] |= {"fraction": 0.5, "examples": 320, "batches": 10}
    torch.save(content | {"state_dict": {"other": torch.zeros(1)}}, path)
    with pytest.raises(GenlabError, match=r"last\.ckpt does not fit the model"):
        train(tmp_path, model="gmm")
    torch.save(content, path)
    be_later_code(monkeypatch)
    result = train(tmp_path, model="gmm")
    assert [made.version for made in result.trained_by] == [code_version(), "9.9 later"]


@pytest.mark.parametrize(
    "change",
    [
        "seed=1",
        "model.lr=0.5",
        "rerun=true",
        "evaluation=paper",
        "evaluation.split=validation",
        "paths.logs=x",
        "trainer.devices=-7",
        "log_every=-1",
    ],
)
def test_what_is_no_finished_run_finds_no_answer(finished: Path, change: str) -> None:
    assert find_finished(composed([*TINY, f"paths.logs={finished}", change])) is None


def test_another_protocol_evaluates_without_training(finished: Path) -> None:
    before = (run_folder(finished) / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    result = train(finished, "evaluation=standard", "evaluation.num_samples=4", "evaluation.num_draws=2")
    assert result.likelihood.kind == "dequantized-2"
    assert (run_folder(finished) / "checkpoints" / "last.ckpt").stat().st_mtime_ns == before


def test_a_file_that_has_changed_since_is_other_data(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    table, logs = tmp_path / "table.csv", f"paths.logs={tmp_path / 'logs'}"
    rows = "a,b\n" + "".join(f"{i / 7},{i * i / 11}\n" for i in range(300))
    command = [*tiny("gmm"), "data=csv", f"data.path={table}", logs]
    table.write_text(rows)
    assert cli.train(command) == 0
    (first,) = tmp_path.glob("logs/runs/csv_*/gmm/*")
    table.write_text(rows + "0.25,0.75\n")
    capfd.readouterr()
    assert cli.evaluate([f"run={first}", "evaluation.name=later", logs]) == 2
    assert "was trained on csv_table_" in capfd.readouterr().err
    assert cli.train(command) == 0
    assert len(list(tmp_path.glob("logs/runs/csv_*/gmm/*/results/quick.json"))) == 2


def test_a_text_that_has_changed_since_gives_no_samples(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    """With as many symbols as before the model would fit, and write other letters."""
    text, logs = tmp_path / "text.txt", f"paths.logs={tmp_path / 'logs'}"
    text.write_text("badly bred cab\n" * 100)
    assert cli.train([*tiny("ngram"), "data=text_file", f"data.path={text}", "data.length=8", logs]) == 0
    (run,) = tmp_path.glob("logs/runs/text_file_*/ngram/*")
    assert cli.sample([f"run={run}", "n=2", logs]) == 0
    text.write_text("badly bred caf\n" * 100)
    capfd.readouterr()
    assert cli.sample([f"run={run}", "n=2", logs]) == 2
    said = capfd.readouterr().err
    assert "was trained on text_file_text_" in said
    assert "whose symbols or categories may be others" in said


def test_a_result_is_never_replaced_by_another_protocols(finished: Path) -> None:
    before = (run_folder(finished) / "results" / "quick.json").read_text()
    with pytest.raises(GenlabError, match=r"add evaluation\.name="):
        train(finished, "evaluation.split=validation")
    from genlab.command.evaluate import run
    from tests.tiny import composed

    settings = ["evaluation=quick", "evaluation.num_samples=8", "evaluation.max_examples=50"]
    last = run(composed([f"run={run_folder(finished)}", "checkpoint=last", *settings], "evaluate")).result
    assert last.training.checkpoint == "last"
    assert (run_folder(finished) / "results" / "quick.last.json").exists()
    assert (run_folder(finished) / "results" / "quick.json").read_text() == before


def test_another_order_of_the_data_is_another_run(finished: Path, tmp_path: Path) -> None:
    train(tmp_path, "data.seed=5")
    assert run_folder(tmp_path).name != run_folder(finished).name


def test_a_damaged_best_checkpoint_leaves_the_last(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    train(tmp_path)
    run = run_folder(tmp_path)
    (run / "results" / "quick.json").unlink()
    (run / "checkpoints" / "best.ckpt").write_bytes(b"cut")
    result = train(tmp_path)
    assert result.training.checkpoint == "last"
    assert any("figures are of the last checkpoint" in message for message in caplog.messages)


def test_a_validation_without_a_finite_figure_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from genlab.models.flow import Flow

    original = Flow.log_prob

    def impossible(self: Flow, *arguments: Any, **options: Any) -> torch.Tensor:
        return original(self, *arguments, **options) - (0 if self.training else torch.inf)

    monkeypatch.setattr(Flow, "log_prob", impossible)
    with pytest.raises(GenlabError, match=r"val/bits_per_dim is inf after 320 examples"):
        train(tmp_path)


def test_rerun_trains_beside(tmp_path: Path) -> None:
    train(tmp_path)
    run = run_folder(tmp_path)
    train(tmp_path, "rerun=true")
    again = run.with_name(f"{run.name}-r1")
    first, second = (load_checkpoint(folder / "checkpoints" / "last.ckpt") for folder in (run, again))
    assert same(first["state_dict"], second["state_dict"]), "the same seed gives the same weights"


def test_load_run_gives_the_averaged_weights(finished: Path) -> None:
    run = run_folder(finished)
    model = genlab.load_run(run)
    assert same(dict(model.state_dict()), dict(weights(finished, "best.ckpt")["state_dict"]))
    trained = weights(finished, "best.ckpt")["current_model_state"]
    assert not same(dict(model.state_dict()), dict(trained))
    assert model.sample(2).shape == (2, 1, 8, 8)
    assert model.log_prob(model.sample(2)).shape == (2,)


@pytest.mark.parametrize(
    ("where", "said", "lag"),
    [("loss", "the loss is not finite", 0), ("gradient", "the gradient of density.", 0), ("loss", "not finite", 8)],
)
def test_a_non_finite_number_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, said: str, lag: int
) -> None:
    """Also where the answers come late, as from a GPU."""
    from genlab.models.flow import Flow

    monkeypatch.setattr("genlab.core.finite.lag_on", lambda device: lag)
    original = Flow.loss

    def poisoned(self: Flow, batch: Any) -> dict[str, torch.Tensor]:
        parts = original(self, batch)
        if self.training and self.progress.batches == 12:
            weight = next(iter(self.density.parameters()))
            # x * sqrt(0) is zero with an infinite slope; divided, it is not a number at once.
            bad = (weight - weight.detach()).abs().sum().sqrt()
            parts["loss"] = parts["loss"] + (bad if where == "gradient" else bad / 0)
        return parts

    monkeypatch.setattr(Flow, "loss", poisoned)
    with pytest.raises(GenlabError, match=r"step 13 \(384 examples") as error:
        train(tmp_path)
    assert said in str(error.value)
    saved = load_checkpoint(run_folder(tmp_path) / "checkpoints" / "last.ckpt")
    assert saved["genlab"]["progress"]["batches"] == 10
    assert all(torch.isfinite(value).all() for value in saved["current_model_state"].values())


def test_a_second_process_is_refused(finished: Path) -> None:
    import os

    from genlab.runs.locks import RunLock

    run = run_folder(finished)
    (run / "results" / "quick.json").rename(run / "results" / "kept.json")
    try:
        with RunLock(run / "run.lock"):
            second = train_in_a_process(finished)
    finally:
        (run / "results" / "kept.json").rename(run / "results" / "quick.json")
    assert second.returncode == 2
    assert str(os.getpid()) in second.stderr


def test_data_that_is_not_what_its_spec_says_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genlab.data.images import Digits

    load = Digits.load
    monkeypatch.setattr(
        Digits, "load", lambda self, split: {k: b._replace(x=b.x / 16) for k, b in load(self, split).items()}
    )
    with pytest.raises(GenlabError, match=r"x is float32, expected whole numbers 0 to 16 .*, the levels of digits"):
        train(tmp_path)


def test_a_pair_that_cannot_fit_says_why(tmp_path: Path) -> None:
    with pytest.raises(GenlabError, match=r"needs images.*model\.network=nsf"):
        train(tmp_path, "data=toy2d", "model.network=multiscale", "data.train_size=100")
    assert not list(tmp_path.iterdir()), "nothing is written for a run that cannot begin"


def test_no_ema_trains_and_resumes_too(tmp_path: Path) -> None:
    result = train(tmp_path, "ema_decay=null")
    assert result.likelihood is not None
    assert "current_model_state" not in load_checkpoint(run_folder(tmp_path) / "checkpoints" / "last.ckpt")


def test_a_game_leaves_a_result_without_a_likelihood(tmp_path: Path) -> None:
    result = train(tmp_path, "model.objective.critic_steps=2", "evaluation.num_samples=100", model="gan")
    assert result.likelihood is None
    assert "no likelihood" in result.missing["likelihood"]
    assert result.training.examples_seen == 640, "real images, whatever they train"
    assert result.training.optimizer_steps == 20, "training steps, however many optimizers"
    assert result.quality.recall is not None
    rows = list(csv.DictReader((run_folder(tmp_path) / "metrics.csv").open()))
    assert [row["examples_seen"] for row in rows if row["val/fid"]] == ["320", "640"]
    assert all(row["val/class_total_variation"] and row["val/recall"] for row in rows if row["val/fid"])
    best = load_checkpoint(run_folder(tmp_path) / "checkpoints" / "best.ckpt")["genlab"]["progress"]["examples"]
    assert best == min((float(row["val/fid"]), int(row["examples_seen"])) for row in rows if row["val/fid"])[1]


def test_minutes_end_a_run(tmp_path: Path) -> None:
    result = train(tmp_path, "budget.examples=null", "budget.minutes=0.01")
    assert result.training.stopped_by == "minutes"
    assert result.training.wall_seconds >= 0.6


def test_the_time_that_starting_values_take_is_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mixture is fitted before the first step: left out, its minutes would not compare with a flow's."""
    from genlab.models.flow import Flow

    original, real, jumped = Flow.initialize, time.monotonic, [0.0]

    def slow(self: Flow, batch: Any) -> None:
        original(self, batch)
        jumped[0] += 1000.0

    monkeypatch.setattr(Flow, "initialize", slow)
    monkeypatch.setattr(time, "monotonic", lambda: real() + jumped[0])
    assert train(tmp_path).training.wall_seconds >= 1000
