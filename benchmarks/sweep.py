"""What a sweep costs beside its jobs: seconds per job, and the memory of the process that runs it.

    python benchmarks/sweep.py [--jobs 1000] [--trainings 30] [--out results/sweep.json]

Trivial jobs are started one after the other, by the pool and by nothing but `subprocess.run`; the difference is what
the pool costs. Then as many by one command of a sweep, with the config of train.py and a model that does nothing: what
a sweep costs from its command to its end, but for the imports and the work of real trainings. Trainings of the smallest
model are started by one command of a sweep, and one by one; the difference is all that a sweep costs there. Then the
same sweep again, all of it finished.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from genlab.sweeps.jobs import Job
from genlab.sweeps.process_pool import ProcessPool

ROOT = Path(__file__).parents[1]
TRIVIAL = [sys.executable, "-S", "-c", "pass"]
AT_JOBS = (1, 10, 30, 100, 300, 1000)
SMALLEST = [
    "model=gmm", "model.components=2", "model.em_steps=0", "data=toy2d", "data.train_size=1000", "logger=none",
    "trainer=cpu", "ema_decay=null", "budget.examples=256", "budget.validations=1", "grid_samples=1",
    "validation_samples=null", "evaluation.num_samples=10", "evaluation.max_examples=10",
]  # fmt: skip

NO_OP = """
import sys
from genlab.command.entry import run_entry

if __name__ == "__main__":
    sys.exit(run_entry(lambda config: {"seed": config.seed}, "config", sys.argv[1:], ["no_op.py"]))
"""


def resident_mib(pid: int | str = "self") -> float | None:
    """Return the memory of a process, or None where it is gone or the system does not say."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return None
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def trivial(jobs: int) -> dict[str, Any]:
    """Run trivial jobs alone and in the pool."""
    alone = min(jobs, 50)
    started = time.perf_counter()
    for _ in range(alone):
        subprocess.run(TRIVIAL, check=True)
    seconds_alone = (time.perf_counter() - started) / alone
    memory: dict[int, float | None] = {}
    with tempfile.TemporaryDirectory() as folder:
        pool = ProcessPool(lambda overrides: TRIVIAL, folder)
        started, processor = time.perf_counter(), time.process_time()
        for done, outcome in enumerate(pool.run(Job(n, (f"seed={n}",)) for n in range(jobs)), start=1):
            assert outcome.code == 0, outcome
            if done in AT_JOBS:
                memory[done] = resident_mib()
        seconds, processor = (time.perf_counter() - started) / jobs, time.process_time() - processor
    return {
        "jobs": jobs,
        "seconds_per_job": seconds,
        "seconds_per_job_alone": seconds_alone,
        "machinery_seconds_per_job": seconds - seconds_alone,
        "own_processor_seconds_per_job": processor / jobs,
        "memory_mib_after_jobs": memory,
    }


def no_op(jobs: int) -> dict[str, Any]:
    """Sweep over a model that does nothing, in the configuration of a training."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "no_op.py").write_text(NO_OP)
        sweep = ["-m", f"seed=range({jobs})", f"paths.logs={folder}/logs", "hydra.launcher.jobs=2"]
        seconds, memory, silence = watched([*SMALLEST, *sweep], Path(folder) / "logs", Path(folder) / "no_op.py")
        started = time.perf_counter()
        few = min(jobs, 10)
        for seed in range(few):
            command = [sys.executable, "no_op.py", *SMALLEST, f"seed={seed}"]
            subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)
        alone = (time.perf_counter() - started) / few
    return {
        "jobs": jobs,
        "jobs_at_a_time": 2,
        "seconds_before_the_first_job": silence,
        "seconds_per_job": seconds / jobs,
        "seconds_per_job_alone": alone,
        "memory_mib_after_jobs": memory,
    }


def trainings(jobs: int) -> dict[str, Any]:
    """Train the smallest model so many times in a sweep, the sweep again, and a few times alone."""
    with tempfile.TemporaryDirectory() as logs:
        sweep = ["-m", f"seed=range({jobs})", f"paths.logs={logs}/sweep", "hydra.launcher.jobs=1"]
        seconds, memory, _ = watched([*SMALLEST, *sweep], Path(logs) / "sweep")
        again, _, _ = watched([*SMALLEST, *sweep], Path(logs) / "sweep")
        alone = []
        for seed in range(min(jobs, 10)):
            started = time.perf_counter()
            command = [sys.executable, "train.py", *SMALLEST, f"seed={seed}", f"paths.logs={logs}/alone"]
            subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            alone.append(time.perf_counter() - started)
    single = statistics.median(alone)
    return {
        "jobs": jobs,
        "seconds_per_job": seconds / jobs,
        "seconds_per_job_alone": single,
        "machinery_seconds_per_job": seconds / jobs - single,
        "seconds_per_finished_job": again / jobs,
        "memory_mib_after_jobs": memory,
    }


def watched(
    arguments: list[str], logs: Path, program: Path = ROOT / "train.py"
) -> tuple[float, dict[int, float | None], float]:
    """Run a sweep; return its seconds, the memory of its process as its jobs end, and the seconds to the first job."""
    memory: dict[int, float | None] = {}
    began, done = 0.0, 0
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, program.name, *arguments],
        cwd=program.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"LC_ALL": "C"},
    )
    for line in process.stderr or ():
        if line.startswith("Job ") and " begins" in line:
            began = began or time.perf_counter() - started
        if " done in " in line:
            done += 1
            if done in AT_JOBS:
                memory[done] = resident_mib(process.pid)
    if process.wait() != 0:
        raise SystemExit(f"The sweep failed, see {logs}.")
    return time.perf_counter() - started, memory, began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1000, help="trivial jobs")
    parser.add_argument("--trainings", type=int, default=30, help="trainings of the smallest model; 0: none")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    figures: dict[str, Any] = {
        "command": f"python benchmarks/sweep.py --jobs {arguments.jobs} --trainings {arguments.trainings}",
        "trivial": trivial(arguments.jobs),
        "no_op": no_op(arguments.jobs),
    }
    if arguments.trainings:
        figures["trainings"] = trainings(arguments.trainings)
    print(json.dumps(figures, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
