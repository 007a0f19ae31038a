"""The dashboards: what they hide, what they show against which axis, and that none of them stops a run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from pytorch_lightning.utilities import rank_zero_only

from genlab.command.targets import instantiate
from genlab.core.errors import GenlabError
from genlab.core.secrets import redact, redact_text
from genlab.loggers.protocols import ClosesRun, LogsPicture, LogsResult, result_figures
from genlab.loggers.tensorboard_logger import TensorBoardDashboard
from genlab.loggers.wandb_logger import WandbDashboard
from tests.loggers.shown import CONFIG, RESULT, RUN_ID

CONF = Path(__file__).parents[2] / "conf" / "logger"

# --- secrets and figures ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["api_key", "WANDB_API_KEY", "hfToken", "token", "password", "db_password2", "secret"])
def test_secrets_are_hidden_at_any_depth(key: str) -> None:
    config = {"a": [{key: "hunter2hunter2"}]}
    assert redact(config) == {"a": [{key: "***"}]}
    assert config == {"a": [{key: "hunter2hunter2"}]}


@pytest.mark.parametrize(
    "kept",
    [
        {"key_dim": 64},
        {"mask_token": 3},
        {"num_tokens": 65},
        {"tokens": "chars"},
        {"monkey": "x"},
        {"token": None},
        {"token_kind": "byte"},
    ],
)
def test_settings_that_only_sound_like_secrets_are_kept(kept: dict[str, Any]) -> None:
    # A run is rebuilt from the redacted config: what is hidden without need cannot be loaded any more.
    assert redact(kept) == kept


def test_a_secret_from_the_environment_is_hidden_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIRROR_TOKEN", "abcdefgh12345")
    monkeypatch.setenv("SHORT_TOKEN", "get")  # too short to tell it from a word
    assert redact({"url": "https://x/get?auth=abcdefgh12345"}) == {"url": "https://x/get?auth=***"}
    assert redact_text("https://me:pw@host/x") == "https://me:***@host/x"


def test_result_figures_are_the_numbers_under_the_split_and_nothing_else() -> None:
    assert result_figures(RESULT) == {
        "test/bits_per_dim": 1.25,
        "test/nats": 679.3,
        "test/examples": 100,
        "test/draws": 8,
        "test/last/bits_per_dim": 1.5,
        "test/last/examples": 100,
        "test/last/draws": 8,
        "sampling/nfe": 1,
        "sampling/ms_per_sample": 0.5,
        "training/examples_seen": 640,
        "training/optimizer_steps": 5,
        "training/wall_seconds": 1.5,
        "model/parameters": 1234,
    }


@pytest.mark.parametrize("name", sorted(path.stem for path in CONF.glob("*.yaml")))
def test_every_choice_is_built_beside_a_config_that_is_only_shown(name: str, run_dir: Path) -> None:
    # CONFIG names a class that does not exist: were it built and not shown, this would fail.
    node = OmegaConf.load(CONF / f"{name}.yaml")
    made = instantiate(node, run_dir=run_dir, run_id=RUN_ID, config=CONFIG, code_version="0.1")
    if name in ("csv", "none"):
        assert made == []
        return
    assert isinstance(made, LogsPicture)
    assert isinstance(made, LogsResult)
    assert isinstance(made, ClosesRun)
    assert made.config["model"] == CONFIG["model"]
    assert made.save_dir == str(run_dir)
    made.close("finished")
    made.log_metrics({"train/loss": 1.0}, step=128)
    assert list(run_dir.iterdir()) == []  # nothing is started before training is, nor after the end


@pytest.mark.parametrize("kind", [WandbDashboard, TensorBoardDashboard])
def test_other_ranks_write_nothing(
    kind: type, run_dir: Path, picture: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    logger = kind(run_dir, RUN_ID, CONFIG, "0.1")
    if kind is WandbDashboard:
        assert logger.experiment is not None  # Lightning's stand-in, which swallows every call
    logger.log_metrics({"train/loss": 1.0}, step=128)
    logger.log_picture("samples", picture, 128)
    logger.log_files("samples", files, 128)
    logger.log_result(RESULT)
    logger.finalize("success")
    logger.close("finished")
    assert list(run_dir.iterdir()) == []


@pytest.mark.parametrize("kind", [WandbDashboard, TensorBoardDashboard])
def test_metrics_need_the_number_of_examples(kind: type, run_dir: Path) -> None:
    with pytest.raises(ValueError, match="training examples seen"):
        kind(run_dir, RUN_ID, CONFIG, "0.1").log_metrics({"train/loss": 1.0})


# --- TensorBoard -----------------------------------------------------------------------------------------------------


def events(run_dir: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(run_dir / "tensorboard")).Reload()


def test_tensorboard_shows_figures_samples_and_result_against_examples_seen(
    run_dir: Path, picture: Path, files: list[Path]
) -> None:
    logger = TensorBoardDashboard(run_dir, RUN_ID, CONFIG, "0.1.0+abc")
    logger.log_metrics({"train/loss": 1.0}, step=128)
    logger.log_picture("samples", picture, 256)
    logger.log_files("samples", files, 256)
    logger.finalize("success")  # Lightning says this before the evaluation
    logger.log_result(RESULT)
    logger.close("finished")
    logger.close("finished")
    logger.log_metrics({"train/loss": 1.0}, step=1024)  # closed: dropped
    shown = events(run_dir)
    assert [(event.step, event.value) for event in shown.Scalars("train/loss")] == [(128, 1.0)]
    (image,) = shown.Images("samples")
    assert (image.step, image.width) == (256, 8)
    sounds = [shown.Audio(f"samples/{number}")[0] for number in (1, 4)]
    assert [(sound.step, sound.sample_rate, sound.length_frames) for sound in sounds] == [(256, 8000, 80)] * 2
    assert "samples/5" not in shown.Tags()["audio"], "no more at once"
    (text,) = shown.Tensors("samples/text_summary")
    assert text.tensor_proto.string_val == [b"    to be <or> not\n"]
    assert [(event.step, event.value) for event in shown.Scalars("test/bits_per_dim")] == [(640, 1.25)]
    tags = shown.Tags()
    assert {"config/text_summary", "result/quick/text_summary"} <= {*tags["tensors"]}
    assert list((run_dir / "tensorboard").glob("**/*")) == list((run_dir / "tensorboard").glob("*"))


def test_tensorboard_hides_what_was_logged_beyond_the_checkpoint(run_dir: Path) -> None:
    killed = TensorBoardDashboard(run_dir, RUN_ID, CONFIG, "0.1")
    for step in (128, 256, 384):
        killed.log_metrics({"train/loss": 1.0}, step=step)
    killed.finalize("failed")  # written, and never closed
    assert [event.step for event in events(run_dir).Scalars("train/loss")] == [128, 256, 384]
    resumed = TensorBoardDashboard(run_dir, RUN_ID, CONFIG, "0.1")
    resumed.log_metrics({"train/loss": 2.0}, step=256)
    resumed.close("finished")
    assert [(event.step, event.value) for event in events(run_dir).Scalars("train/loss")] == [(128, 1.0), (256, 2.0)]


def test_a_result_alone_hides_no_figure_of_the_training(run_dir: Path) -> None:
    trained = TensorBoardDashboard(run_dir, RUN_ID, CONFIG, "0.1")
    trained.log_metrics({"train/loss": 1.0}, step=640)
    trained.close("interrupted")
    evaluated = TensorBoardDashboard(run_dir, RUN_ID, CONFIG, "0.1")
    evaluated.log_result(RESULT)
    evaluated.close("finished")
    assert [event.step for event in events(run_dir).Scalars("train/loss")] == [640]


def test_without_tensorboard_the_user_is_told_what_to_install(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(GenlabError, match=r"pip install 'genlab\[tensorboard\]'"):
        TensorBoardDashboard(run_dir, RUN_ID, CONFIG, "0.1")
