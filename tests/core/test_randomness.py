"""What is drawn by chance, and always the same."""

from __future__ import annotations

import torch

from genlab.core.randomness import some_of


def test_examples_to_look_at_are_of_all_labels_though_the_set_is_in_their_order() -> None:
    labels = torch.arange(10).repeat_interleave(30)
    shown = some_of(labels, 8)
    assert len(shown.unique()) > 4
    assert torch.equal(shown, some_of(labels, 8))
    assert sorted(some_of(labels, 1000).tolist()) == labels.tolist()
