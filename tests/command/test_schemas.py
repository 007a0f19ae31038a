"""The schemas of the commands: what fits the configs as they are, and what cannot be."""

from __future__ import annotations

from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from genlab.command.config import check_config
from genlab.command.entry import config_folder
from genlab.command.schemas import EvaluateConfig, SampleConfig
from genlab.core.errors import GenlabError


def _composed(name: str, *overrides: str) -> Any:
    with initialize_config_dir(str(config_folder())):
        return compose(name, list(overrides))


@pytest.mark.parametrize("overrides", [[], ["budget.minutes=0.5", "budget.examples=null", "ema_decay=null"]])
def test_the_default_config_passes(overrides: list[str]) -> None:
    check_config(_composed("config", *overrides))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "budget.examples=null budget.minutes=null",
            "budget.examples and budget.minutes are both null, expected at least one of them.",
        ),
        ("budget.examples=0", "budget.examples is 0, expected a whole number >= 1 or null."),
        ("ema_decay=1", "ema_decay is 1, expected a number >= 0 and < 1 or null."),
        ("seed=null", "seed is null, expected a whole number >= 0 and < 9223372036854775808."),
        ("model.lr=-1", "model.lr is -1, expected a number > 0."),
        ("data.batch_size=0", "data.batch_size is 0, expected a whole number >= 1 and <= 1000000."),
        ("+trainer.max_epochs=3", "trainer.max_epochs is set from budget.examples; remove it."),
        ("+trainer.min_steps=3", "trainer.min_steps is set from budget.examples; remove it."),
        ("trainer.cuda_graphs=true", "trainer.cuda_graphs is true, expected auto or false."),
        ("+trainer.cuda_graph=false", "Unknown key 'trainer.cuda_graph'. Did you mean 'trainer.cuda_graphs'?"),
        ("trainer.precision=bf16-mixd", "trainer.precision is 'bf16-mixd', expected "),
        ("+note=hello", "Unknown key 'note'."),
    ],
)
def test_settings_that_cannot_be(override: str, message: str) -> None:
    with pytest.raises(GenlabError) as raised:
        check_config(_composed("config", *override.split()))
    assert str(raised.value).startswith(message)
    assert len(str(raised.value).splitlines()) == 1


def test_the_other_commands_have_schemas_of_their_own() -> None:
    check_config(_composed("evaluate", "run=x"), EvaluateConfig)
    check_config(_composed("sample", "run=x"), SampleConfig)
    with pytest.raises(GenlabError, match="n is 0, expected a whole number >= 1"):
        check_config(_composed("sample", "run=x", "n=0"), SampleConfig)
