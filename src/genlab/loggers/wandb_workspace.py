"""The saved W&B workspace of a project: which panels show which of the figures that runs log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from genlab.core.errors import GenlabError
from genlab.measure.figures import FIGURES, Figure, headlines, validated

__all__ = ["build_workspace", "describe_workspace"]

_X_AXIS = "examples_seen"
"""What all curves are drawn against."""

_SYSTEM = {
    "system/cpu": "CPU of the process (%)",
    "system/proc.memory.rssMB": "memory of the process (MB)",
    "system/gpu.0.gpu": "GPU 0 in use (%)",
    "system/gpu.0.memoryAllocated": "memory of GPU 0 (%)",
}
"""What W&B itself records, where ``logger.machine_info=true``."""

_COLUMNS = ("protocol", "likelihood_kind", "likelihood_of")
"""Columns that the list of runs begins with, before those of figures."""

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
    try:
        return ws.Workspace(
            entity=entity,
            project=project,
            name=name,
            sections=[
                ws.Section(name=title, panels=panels, is_open=True) for title, panels in _sections(wr, sweep).items()
            ],
            settings=ws.WorkspaceSettings(x_axis=_X_AXIS, max_runs=50),
            runset_settings=ws.RunsetSettings(
                filters=_filters(expr, data, protocol),
                pinned_columns=[
                    f"summary:{column}" for column in (*_COLUMNS, *_results(), *_costs(), f"training/{_X_AXIS}")
                ],
            ),
        )
    except ValueError as error:  # the library's own checks
        raise GenlabError(f"W&B does not take the workspace '{name}': {_reason(error)}.") from error


def _filters(expr: Any, data: str | None, protocol: str | None) -> Any:
    """Which runs are shown, in the words of the library's module ``expr``; empty for all."""
    filters = [] if data is None else [expr.Tags().isin([data])]
    filters += [] if protocol is None else [expr.Summary("protocol") == protocol]
    return expr.And(*filters) if filters else ""


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


def _results() -> dict[str, Figure]:
    """The headlines of a result under the names of the summary."""
    return {f"test/{figure.key}": figure for figure in headlines()}


def _costs() -> dict[str, str]:
    """What quality is plotted against under the names of the summary, each with its label; stored units."""
    costs = [figure for figure in FIGURES.values() if figure.cost]
    return {f"{figure.section}/{figure.key}": f"{figure.cost} ({figure.key.replace('_', ' ')})" for figure in costs}


def _curves() -> dict[str, str]:
    """What is drawn against the examples seen, each with its title."""
    remarks = {"features": ", of few samples"}
    return {
        "train/loss": "training loss, of each family its own",
        **{
            f"val/{figure.key}": f"validation {figure.label}{remarks.get(figure.basis or '', '')}"
            for figure in validated(headlines_only=True)
        },
        "train/grad_norm": "norm of the gradient",
        "train/lr": "learning rate",
    }


def _sections(wr: Any, sweep: Sequence[str]) -> dict[str, list[Any]]:
    results, costs = _results(), _costs()
    return {
        "About": [wr.MarkdownPanel(markdown=_ABOUT)],
        "Likelihood and quality by family": [
            _bars(wr, key, f"test {figure.label} by data set and model") for key, figure in results.items()
        ],
        "Quality against cost": [
            _scatter(wr, cost, label, key, figure) for key, figure in results.items() for cost, label in costs.items()
        ],
        "Samples": [
            wr.MediaBrowser(title="the same noise at each validation", media_keys=["samples"], gallery_axis="step"),
            wr.MediaBrowser(title="after training", media_keys=["samples/final"], gallery_axis="run"),
        ],
        "Training curves": [_curve(wr, key, title) for key, title in _curves().items()],
        "Sweeps": [_parallel(wr, sweep, key, figure.label) for key, figure in results.items()],
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


def _scatter(wr: Any, cost: str, label: str, key: str, figure: Figure) -> Any:
    # The line of the best figure so far, from cheap to dear, is the Pareto front.
    return wr.ScatterPlot(
        title=f"{figure.label} against {label}",
        x=wr.SummaryMetric(cost),
        y=wr.SummaryMetric(key),
        log_x=True,
        running_ymin=figure.better == "lower" or None,
        running_ymax=figure.better == "higher" or None,
        legend_template="${run:displayName} ${summary:likelihood_kind} ${summary:protocol}",
    )


def _curve(wr: Any, key: str, title: str) -> Any:
    return wr.LinePlot(title=title, x=_X_AXIS, y=[key], title_x="examples seen")


def _parallel(wr: Any, sweep: Sequence[str], key: str, what: str) -> Any:
    columns = [wr.ParallelCoordinatesPlotColumn(metric=wr.Config(setting)) for setting in sweep]
    columns.append(wr.ParallelCoordinatesPlotColumn(metric=wr.SummaryMetric(key), display_name=f"test {what}"))
    return wr.ParallelCoordinatesPlot(title=f"settings and test {what}", columns=columns)
