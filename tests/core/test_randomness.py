"""What is drawn by chance, and always the same."""

from __future__ import annotations

import pytest
import torch

from genlab.core.randomness import default_generator, some_of


def test_examples_to_look_at_are_of_all_labels_though_the_set_is_in_their_order() -> None:
    labels = torch.arange(10).repeat_interleave(30)
    shown = some_of(labels, 8)
    assert len(shown.unique()) > 4
    assert torch.equal(shown, some_of(labels, 8))
    assert sorted(some_of(labels, 1000).tolist()) == labels.tolist()


def test_a_device_without_a_number_draws_from_the_generator_of_the_present_one(monkeypatch: pytest.MonkeyPatch) -> None:
    of_gpus = torch.Generator(), torch.Generator()
    monkeypatch.setattr(torch.cuda, "default_generators", of_gpus)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert default_generator(torch.device("cuda")) is of_gpus[1]
    assert default_generator(torch.device("cuda:0")) is of_gpus[0]
    assert default_generator(torch.device("cpu")) is torch.default_generator
