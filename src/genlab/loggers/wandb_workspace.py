"""The saved W&B workspace of a project: which panels show which of the figures that runs log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from genlab.core.errors import GenlabError

__all__ = ["build_workspace", "describe_workspace"]

_RESULTS = {
    "test/bits_per_dim": "bits/dim",
    "test/nats": "nats",
    "test/fid": "FID",
    "test/sliced_wasserstein": "sliced Wasserstein distance",
}
"""Figures of a result, all of them better when lower, and what each is."""

_COSTS = {
    "sampling/ms_per_sample": "sampling cost (ms per sample)",
    "training/wall_seconds": "training cost (seconds)",
}

_CURVES = {
    "train/loss": "training loss, of each family its own",
    "val/bits_per_dim": "validation bits/dim",
    "val/nats": "validation nats",
    "val/fid": "validation FID, of few samples",
    "val/sliced_wasserstein": "validation sliced Wasserstein distance",
    "train/grad_norm": "norm of the gradient",
    "train/lr": "learning rate",
}

_SYSTEM = {
    "system/cpu": "CPU of the process (%)",
    "system/proc.memory.rssMB": "memory of the process (MB)",
    "system/gpu.0.gpu": "GPU 0 in use (%)",
    "system/gpu.0.memoryAllocated": "memory of GPU 0 (%)",
}
"""What W&B itself records, where ``logger.machine_info=true``."""

_COLUMNS = ("protocol", "likelihood_kind", "likelihood_of", *_RESULTS, *_COSTS, "training/examples_seen")
"""Columns that the list of runs begins with."""

_ABOUT = """\
Figures are of the test split and lower is better, unless a panel says otherwise. Likelihoods of different kinds \
(column `likelihood_kind`) and figures of different protocols (column `protocol`) do not compare: choose one protocol \
with `protocol=<name>` when this view is made. Bars are means over all runs of a data set and model, whatever their \
settings, with the standard deviation. The table that ranks only what compares is logged by \
`python scripts/compare.py wandb=<project>`, as a run of type `comparison`.
"""


def build_workspace(
    project: str, entity: str, name: str, data: str | None, protocol: str | None, sweep: Sequence[str]
) -> Any:
    """Build a workspace from W&B's own library; needs no network and no account.

    Args:
        project: Project on W&B.
        entity: User or team on W&B.
        name: What the view is called.
        data: Shows only runs of this data set; None for all.
        protocol: Shows only runs with a result of this evaluation protocol, by its name; None for all.
        sweep: Dotted keys of the configuration, the first axes of the parallel coordinates.

    Returns:
        A ``wandb_workspaces.workspaces.Workspace``.

    Raises:
        GenlabError: If the library is not installed, or refuses the name.
    """
    try:
        import wandb_workspaces.reports.v2 as wr
        import wandb_workspaces.workspaces as ws
        from wandb_workspaces import expr
    except ImportError as error:
        raise GenlabError(
            f"The dashboard needs wandb-workspaces, which is not installed ({error}).\n"
            "Install it: pip install 'genlab[dashboard]'"
        ) from error
    filters = []
    if data is not None:
        filters.append(expr.Tags().isin([data]))
    if protocol is not None:
        filters.append(expr.Summary("protocol") == protocol)
    try:
        return ws.Workspace(
            entity=entity,
            project=project,
            name=name,
            sections=[
                ws.Section(name=title, panels=panels, is_open=True) for title, panels in _sections(wr, sweep).items()
            ],
            settings=ws.WorkspaceSettings(x_axis="examples_seen", max_runs=50),
            runset_settings=ws.RunsetSettings(
                filters=expr.And(*filters) if filters else "",
                pinned_columns=[f"summary:{column}" for column in _COLUMNS],
            ),
        )
    except ValueError as error:  # the library's own checks
        raise GenlabError(f"W&B does not take the workspace '{name}': {_reason(error)}.") from error


def describe_workspace(workspace: Any) -> dict[str, Any]:
    """Return what saving a workspace sends, in plain containers; an entity that is not known yet is None."""
    view = workspace._to_model().model_dump(mode="json", by_alias=True, exclude_none=True)
    return {
        "entity": view["entity"] or None,
        "project": view["project"],
        "name": view["displayName"],
        "spec": view["spec"],
    }


def _reason(error: ValueError) -> str:
    errors = getattr(error, "errors", None)
    return errors()[0]["msg"] if errors else str(error).splitlines()[0]


def _sections(wr: Any, sweep: Sequence[str]) -> dict[str, list[Any]]:
    return {
        "About": [wr.MarkdownPanel(markdown=_ABOUT)],
        "Likelihood and quality by family": [
            _bars(wr, key, f"test {what} by data set and model") for key, what in _RESULTS.items()
        ],
        "Quality against cost": [
            _scatter(wr, cost, label, key, what) for key, what in _RESULTS.items() for cost, label in _COSTS.items()
        ],
        "Samples": [
            wr.MediaBrowser(title="the same noise at each validation", media_keys=["samples"], gallery_axis="step"),
            wr.MediaBrowser(title="after training", media_keys=["samples/final"], gallery_axis="run"),
        ],
        "Training curves": [_curve(wr, key, title) for key, title in _CURVES.items()],
        "Sweeps": [_parallel(wr, sweep, key, what) for key, what in _RESULTS.items()],
        "System use": [
            _curve(wr, "train/examples_per_second", "training examples per second"),
            _bars(wr, "training/peak_memory_bytes", "peak memory (bytes) by data set and model"),
            _bars(wr, "training/wall_seconds", "training time (seconds) by data set and model"),
            *(
                wr.LinePlot(title=f"{title}, with logger.machine_info=true", x="RelativeTime(Process)", y=[key])
                for key, title in _SYSTEM.items()
            ),
        ],
    }


def _bars(wr: Any, key: str, title: str) -> Any:
    # The W&B group of a run is <data>/<model>: the figures of different data sets are never averaged.
    return wr.BarPlot(
        title=title, metrics=[key], groupby=wr.Metric("Group"), groupby_aggfunc="mean", groupby_rangefunc="stddev"
    )


def _scatter(wr: Any, cost: str, label: str, key: str, what: str) -> Any:
    # The line of the lowest figure so far, from cheap to dear, is the Pareto front.
    return wr.ScatterPlot(
        title=f"{what} against {label}",
        x=wr.SummaryMetric(cost),
        y=wr.SummaryMetric(key),
        log_x=True,
        running_ymin=True,
        legend_template="${run:displayName} ${summary:likelihood_kind} ${summary:protocol}",
    )


def _curve(wr: Any, key: str, title: str) -> Any:
    return wr.LinePlot(title=title, x="examples_seen", y=[key], title_x="examples seen")


def _parallel(wr: Any, sweep: Sequence[str], key: str, what: str) -> Any:
    columns = [wr.ParallelCoordinatesPlotColumn(metric=wr.Config(setting)) for setting in sweep]
    columns.append(wr.ParallelCoordinatesPlotColumn(metric=wr.SummaryMetric(key), display_name=f"test {what}"))
    return wr.ParallelCoordinatesPlot(title=f"settings and test {what}", columns=columns)
