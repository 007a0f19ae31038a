"""The world in which a dashboard is tested, and a picture for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
import wandb
from PIL import Image

from tests.loggers.shown import RUN_ID


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A run's folder in a world where nobody has a key or has set up W&B, and a W&B that starts from nothing."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "WANDB_DATA_DIR", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("CONFIG", "CACHE"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / "home" / name))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "logs" / "runs" / "mnist" / "flow" / RUN_ID
    folder.mkdir(parents=True)
    wandb.teardown()
    yield folder
    wandb.teardown()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.new("L", (8, 8), 200).save(tmp_path / "grid.png")
    return tmp_path / "grid.png"


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Samples to read, and five to listen to."""
    (tmp_path / "samples.txt").write_text("to be <or> not\n")
    sounds = [tmp_path / f"samples_{number}.wav" for number in range(1, 6)]
    for number, path in enumerate(sounds):
        soundfile.write(path, [0.1 * number] * 80, 8000, subtype="PCM_16")
    return [tmp_path / "samples.txt", *sounds]
