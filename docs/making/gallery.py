"""The gallery: each comparison that `results/` holds, with its floor, its costs, its pictures and its commands."""

from __future__ import annotations

from pathlib import Path

from making.measured import RESULTS, Comparison, comparisons, count
from making.text import commands, table, unbroken

INTRODUCTION = """# Gallery

Every comparison that is kept in `results/`, each with its floor, its costs and its commands. The floor is what real
training data gets in the place of samples: no model is expected to be better. How these figures are to be read, the
single runs and the speeds are in [reference results](/made/results.md). `python docs/gallery.py NAME` makes one again.
"""


def overview() -> str:
    """Return the page that leads to all comparisons."""
    parts = [INTRODUCTION]
    for comparison in comparisons():
        parts.append(
            f"## [{comparison.title}]({comparison.page})\n\n{_summary(comparison)}\n\n{_short_table(comparison)}"
        )
    contents = "\n".join(f"gallery/{comparison.name}" for comparison in comparisons())
    return "\n".join([*parts, f"```{{toctree}}\n:hidden:\n\n{contents}\n```\n"])


def page(comparison: Comparison) -> str:
    """Return the page of one comparison."""
    whole = (comparison.folder / "comparison.md").read_text()
    parts = [
        f"# {comparison.title}\n\n{_summary(comparison)}\n",
        _short_table(comparison),
        "## Samples\n",
        *[_samples(comparison, row) for row in comparison.rows],
        '<div class="clear"></div>\n',
        "## Commands\n\nEach row, and the table:\n",
        commands([*_commands(comparison), _table_command(comparison)]),
        "## The whole table\n",
        unbroken(whole.partition("\n")[2].strip()) + "\n",
    ]
    return "\n".join(parts)


def _summary(comparison: Comparison) -> str:
    models = [row for row in comparison.rows if row["reference"] != "floor"]
    first = models[0]
    seeds = max(len(row["seeds"].split()) for row in models)
    versions = sorted({row["code_version"] for row in comparison.rows})
    devices = sorted({row["device"] for row in models})
    code = f"code version {versions[0]}" if len(versions) == 1 else f"{len(versions)} versions of the code"
    split, bracket, rest = first["split"].partition(" (")  # as "test (10 % of each class)"
    return (
        f"{len(models)} models on `{first['data']}`, {split} split{bracket}{rest}, protocol {first['protocol']} "
        f"(`{first['protocol_hash']}`); {seeds} seed{'s' if seeds > 1 else ''}; {'; '.join(devices)}; {code}."
    )


def _short_table(comparison: Comparison) -> str:
    head = ["model", "likelihood", *(label for _, label, _ in comparison.qualities)]
    head += ["parameters", "ms per sample", "train minutes"]
    rows = []
    for row in comparison.rows:
        note = row["note"] if row["reference"] in ("", row["model"]) else row["reference"]
        name = f"**{row['model']}** ({note})" if note else f"**{row['model']}**"
        quality = [number.write(float(row[key])) if row[key] else "" for key, _, number in comparison.qualities]
        is_model = row["reference"] != "floor"
        cost = (
            (count(row["parameters"]), _short(row["ms_per_sample"]), _short(row["train_minutes"]))
            if is_model
            else [""] * 3
        )
        rows.append([f"{name}, {row['variant']}", comparison.value(row), *quality, *cost])
    return table(head, rows)


def _short(value: str) -> str:
    if not value:
        return ""
    number = float(value)
    return f"{number:,.0f}" if number >= 99.95 else f"{number:#.3g}"


def _samples(comparison: Comparison, row: dict[str, str]) -> str:
    folder = comparison.run(row)
    for suffix in (".png", ".txt"):
        found = sorted(folder.glob(f"samples*{suffix}"))
        if found and suffix == ".png":
            what = "real training data" if row["reference"] == "floor" else row["variant"]
            return (
                f"```{{figure}} {_from_root(found[0])}\n:figclass: sample\n:alt: samples of {row['model']}\n\n"
                f"**{row['model']}**, {what}\n```\n"
            )
        if found:
            lines = found[0].read_text().splitlines()[:12]
            return f"**{row['model']}**, {row['variant']}:\n\n```text\n" + "\n".join(lines) + "\n```\n"
    return ""


def _from_root(path: Path) -> str:
    return f"/../results/{path.relative_to(RESULTS)}"


def _commands(comparison: Comparison) -> list[str]:
    models = [_command(row) for row in comparison.rows if row["reference"] != "floor"]
    return list(dict.fromkeys(models))


def _command(row: dict[str, str]) -> str:
    """Return the command of a row: that of its first run, with all its seeds."""
    first, *others = row["seeds"].split()
    if not others:
        return row["command"]
    words = [word for word in row["command"].split(" ") if word != f"seed={first}"]
    return " ".join([*words, f"seed={','.join([first, *others])}", "-m"])


def _table_command(comparison: Comparison) -> str:
    row = comparison.rows[0]
    return f"python scripts/compare.py data={row['data']} protocol={row['protocol']} out=report"
