"""What a campaign costs: overhead of a job, a large store, memory of the main process, cost of a task.

A C program that takes 10 ms (waiting, or computing) and writes ten events is run 1000 times by two threads, once
by a bare loop (start, wait, read the file) and once by `Campaign`; both in the same run, one after the other, so that
a busy machine slows both.

    python scripts/benchmarks/campaign.py [--jobs 1000] [--entries 100000] [--memory-jobs 10000] [--repeats 3]
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil

from mode_opt.campaigns import (
    Campaign,
    DaskExecutor,
    Executor,
    Job,
    Outcome,
    Processes,
    Serial,
    Status,
    Store,
    Task,
    Work,
    seed_of,
)
from mode_opt.simulation import ExternalProgram

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks" / "campaign.md"
EVENTS = 10
SOURCE = r"""
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
static double now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}
int main(int count, char **words) {
    struct timespec span = {0, 10000000};
    double end = now(CLOCK_PROCESS_CPUTIME_ID) + 0.010;
    if (!atoi(words[1])) nanosleep(&span, NULL);
    else while (now(CLOCK_PROCESS_CPUTIME_ID) < end);
    FILE *file = fopen(words[3], "w");
    if (!file) return 1;
    fprintf(file, "a,b\n");
    for (int k = 0; k < 10; k++) fprintf(file, "%d,%s\n", k, words[2]);
    return fclose(file);
}
"""


class Nothing(Work):
    """Events at no cost, in the process of the task."""

    kind = "nothing, of the benchmark"

    def description(self) -> dict:
        return {}

    @classmethod
    def of(cls, description: dict) -> "Nothing":
        return cls()

    def run(self, job: Job, folder: Path) -> dict[str, np.ndarray]:
        return {"hits": np.full((job.events, 10, 1), float(job.seed))}


def jobs_of(work: Work, count: int, events: int = EVENTS) -> list[Job]:
    return [Job(work.digest, {"gap": 1.5}, events, seed_of(0, k)) for k in range(count)]


def bare(program: Path, busy: bool, jobs: list[Job], folder: Path) -> tuple[float, float]:
    """Seconds, and CPU seconds of this process, of two threads that start the program, wait, and read its file."""

    def one(job: Job) -> int:
        path = folder / f"{job.seed}.csv"
        subprocess.run([str(program), str(int(busy)), str(job.seed), str(path)], check=True, cwd=folder)
        return len(path.read_text())

    start, own = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(2) as pool:
        assert len(list(pool.map(one, jobs))) == len(jobs)
    return time.perf_counter() - start, time.process_time() - own


def campaign(work: Work, jobs: list[Job], folder: Path, executor: Executor) -> tuple[float, float]:
    """Seconds, and CPU seconds of this process, of a fresh campaign."""
    with Campaign(folder / "store", executor) as made:
        start, own = time.perf_counter(), time.process_time()
        outcomes = made.run(work, jobs)
        assert all(outcome.status is Status.DONE for outcome in outcomes.values())
        return time.perf_counter() - start, time.process_time() - own


def overhead(count: int, repeats: int) -> str:
    """A table: seconds of both, and ratios, for a program that waits and one that computes."""
    lines = [
        "| program | ideal s | bare loop s | campaign s | campaign / ideal | campaign / bare | CPU ms a run |",
        "|---|---|---|---|---|---|---|",
    ]
    for label, busy in (("waits 10 ms", False), ("computes 10 ms", True)):
        times = []
        for _ in range(repeats):
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                (folder / "own.c").write_text(SOURCE)
                subprocess.run(["cc", "-O2", "-o", str(folder / "own"), str(folder / "own.c")], check=True)
                output = {"file": "events.csv", "hits": {"value": ["a", "b"]}}
                arguments = ["own", str(int(busy)), "{{ seed }}", "{{ output }}"]
                work = ExternalProgram(arguments, output, folder, time_limit=60)
                jobs = jobs_of(work, count)
                times.append((*bare(folder / "own", busy, jobs, folder), *campaign(work, jobs, folder, Processes(2))))
        ideal = count * 0.010 / 2
        loop, loop_cpu, ours, cpu = (statistics.median(column) for column in zip(*times, strict=True))
        ratio = statistics.median(row[2] / row[0] for row in times)
        costs = f"{1e3 * loop_cpu / count:.2f}, {1e3 * cpu / count:.2f}"
        lines.append(
            f"| {label} | {ideal:.2f} | {loop:.2f} | {ours:.2f} | {ours / ideal:.2f} | {ratio:.2f} | {costs} |"
        )
    return "\n".join(lines)


def large_store(entries: int) -> str:
    """Seconds to open a store and ask it for something."""
    with tempfile.TemporaryDirectory() as name:
        store, work = Store(name), Nothing()
        jobs = jobs_of(work, entries, events=1)
        for job in jobs:
            path = store.folders.result(job.key)
            path.parent.mkdir(exist_ok=True)
            path.touch()
        store.record((job, Outcome(job.key, Status.DONE, seconds=0.01, bytes=1000)) for job in jobs)
        asked = {
            "opened": lambda: Store(name),
            "1000 jobs looked up": lambda: store.known(jobs[::-1][:1000]),
            "totals": store.totals,
            "the 20 used last": lambda: [entry for entry, _ in zip(store.entries(), range(20), strict=False)],
            "one by the beginning of its key": lambda: list(store.entries(key=jobs[7].key[:12])),
            "what failed": lambda: list(store.entries(status=Status.QUARANTINED)),
            "pruned (nothing to remove)": lambda: store.prune(10**12),
        }
        lines = [f"| a store with {entries} entries | seconds |", "|---|---|"]
        for label, question in asked.items():
            start = time.perf_counter()
            question()
            lines.append(f"| {label} | {time.perf_counter() - start:.3f} |")
    return "\n".join(lines)


def memory(count: int) -> str:
    """Growth of the main process while results of many jobs are read as they come, 1000 events each."""
    work, process, sizes = Nothing(), psutil.Process(), []
    with tempfile.TemporaryDirectory() as name:
        made = Campaign(Path(name) / "store", Processes(2))
        jobs = (Job(work.digest, {"gap": 1.5}, 1000, seed_of(0, k)) for k in range(count))
        total = 0.0
        for number, outcome in enumerate(made.stream(work, jobs, total=count)):
            total += float(made.store.read(outcome.key)["hits"].sum())
            if number % 100 == 0:
                sizes.append(process.memory_info().rss / 1e6)
            made.store.folders.result(outcome.key).unlink()
        made.executor.close()
    assert total > 0
    early = statistics.median(sizes[2:10])
    most, last = max(sizes), sizes[-1]
    return f"{count} jobs of 1000 events: {early:.0f} MB early, {most:.0f} MB at most, {last:.0f} MB at the end."


def task_cost(count: int) -> str:
    """Milliseconds for each task of one job that does nothing but write its result."""
    lines = ["| executor | ms a task | ms a job, put together |", "|---|---|---|"]
    work = Nothing()
    for label, executor in (("serial", Serial()), ("processes, 2", Processes(2)), ("dask, 2 workers", DaskExecutor(2))):
        with tempfile.TemporaryDirectory() as name:
            store = Store(name)
            executor.submit(Task(work, jobs_of(work, 1), store.root)).result()
            start = time.perf_counter()
            futures = [executor.submit(Task(work, [job], store.root)) for job in jobs_of(work, count + 1)[1:]]
            for future in futures:
                future.result()
            single = (time.perf_counter() - start) / count
            together = campaign(work, jobs_of(work, 4 * count), Path(name), executor)[0] / (4 * count)
            executor.close()
        lines.append(f"| {label} | {1e3 * single:.2f} | {1e3 * together:.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--memory-jobs", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    if shutil.which("cc") is None:
        sys.exit("a C compiler is needed")
    load = os.getloadavg()[0]
    text = f"""# What a campaign costs

`python scripts/benchmarks/campaign.py`, on {os.cpu_count()} cores with a load of {load:.1f} by others at the start.

{options.jobs} runs of a program of 10 ms, two at a time, medians of {options.repeats} repeats. The bare loop starts the
program, waits for it and reads its file; the campaign adds a folder of its own for each run, its claim, time limit and
log, checks of the events, and the store. Other processes on the machine slow both, and the start of a program most;
the last column, CPU time of the main process a run (bare loop, campaign), does not depend on them.

{overhead(options.jobs, options.repeats)}

{large_store(options.entries)}

Memory of the main process: {memory(options.memory_jobs)}

{task_cost(300)}
"""
    print(text)
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
