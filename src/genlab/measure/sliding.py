"""Likelihoods by windows that slide: each symbol is scored once, and all but the first ones have a long context."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from genlab.core.contract import Scores, ScoresValues
from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec
from genlab.core.timetable import Timetable
from genlab.measure.batches import BatchSizes

__all__ = ["check_stride", "sliding_log_probs"]


def check_stride(stride: int | None, spec: DataSpec, is_one_sequence: bool, model: object) -> None:
    """Refuse a stride that the data or the model cannot have.

    Args:
        stride: Symbols by which a window slides; None: windows do not overlap.
        spec: What one example is.
        is_one_sequence: Whether the examples of a split follow each other.
        model: What is to be measured.

    Raises:
        GenlabError: What was given, and what to do.
    """
    if stride is None:
        return
    if not is_one_sequence:
        raise GenlabError(
            f"evaluation.stride is {stride}, but the examples of {spec.name} are no windows of one text. Leave it out."
        )
    if stride > spec.num_dims:
        raise GenlabError(
            f"evaluation.stride is {stride}, expected at most the {spec.num_dims} symbols of a window (data.length)."
        )
    if not isinstance(model, ScoresValues):
        raise GenlabError(
            f"evaluation.stride needs the probability of each symbol given those before it, which the "
            f"{getattr(model, 'family', type(model).__name__)} family does not tell. Leave it out."
        )


def sliding_log_probs(
    model: Scores, x: Tensor, stride: int, rows: Tensor, batch_size: int | None, timetable: Timetable
) -> Tensor:
    """Return the log-probabilities of windows, to whose symbols all windows that begin earlier give their context.

    Windows of the model's length begin every ``stride`` symbols, and each is scored on its last ``stride`` symbols
    alone, the first one on all of them. So a symbol has between T - stride and T - 1 symbols before it, but for the
    first T of the text.

    Args:
        model: A :class:`~genlab.core.contract.ScoresValues`.
        x: ``[N, T]``, windows that follow each other without a gap.
        stride: From 1 to T.
        rows: The windows whose symbols are scored, rising.
        batch_size: Windows per call; None: what suits the device.
        timetable: Is told how many of the rows are done, as far as windows are.

    Returns:
        ``[len(rows)]``, nats, float64.
    """
    count, length = x.shape
    text, device = x.flatten(), model.device
    starts = torch.arange(0, len(text) - length + stride, stride).clamp_max(len(text) - length).unique()
    # Each window is scored from where the one before it ended.
    begins = torch.cat([torch.zeros(1, dtype=torch.int64), starts[:-1] + length])
    wanted = torch.zeros(count, dtype=torch.bool)
    wanted[rows] = True
    ends = starts + length
    needed = [bool(wanted[b // length : (e - 1) // length + 1].any()) for b, e in zip(begins, ends, strict=True)]
    starts, begins = starts[needed], begins[needed]
    scores, scores_values = torch.zeros(len(text), dtype=torch.float64), cast(ScoresValues, model)

    def score(first: int, size: int) -> Tensor:
        windows = torch.stack([text[s : s + length] for s in starts[first : first + size].tolist()])
        return scores_values.log_prob_of_values(windows.to(device)).double().cpu()

    done = told = 0
    for found in BatchSizes(batch_size, device).each(len(starts), score):
        for window, (s, b) in zip(found, zip(starts[done:], begins[done:], strict=True), strict=False):
            scores[b : s + length] = window[int(b - s) :]
        done += len(found)
        now = len(rows) * done // len(starts)
        timetable.advance(now - told)
        told = now
    return scores.view(count, length).sum(1)[rows]
