"""``mode-opt store``: look into the results of simulator runs, and mend what failed."""

import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mode_opt.campaigns import Entry, Job, Status, Store, work_off
from mode_opt.campaigns.performing import perform
from mode_opt.errors import ConfigurationError, DataError
from mode_opt.simulation.export import exported

USAGE = "summary, list, show, run, retry, forget, prune, rebuild, export or work, then the folder of a store"
SHOWN_LINES = 20
_BYTES = {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


def main(arguments: list[str]) -> int:
    """``mode-opt store ACTION STORE [KEY …] [option=value …]``; without an action: a summary.

    summary: jobs, events, seconds and bytes by simulator and ending
    list: jobs, ``status=quarantined``, ``work=DIGEST``, ``limit=20``
    show: one job, with the end of its log
    run: exactly this job once more, here, whatever the store says; the result goes into the store
    retry: quarantined jobs (those named, or all) will be tried again when they are asked for
    forget: these jobs, results included
    prune: ``limit=10GB``, results not used for longest go first
    rebuild: the index from the files
    export: ``output=FILE.root`` or ``.parquet``, ``work=DIGEST``, ``hits=deposit,time``
    work: run the jobs in a drop folder (``executor=file_drop``); at most ``jobs=100``, ``seconds=3600``, with
        ``attempts=3`` each, ``results=STORE`` elsewhere
    """
    words = [word for word in arguments if "=" not in word]
    options = dict(word.split("=", 1) for word in arguments if "=" in word)
    if words and words[0] not in _ACTIONS and Path(words[0]).is_dir():
        words.insert(0, "summary")
    if len(words) < 2 or words[0] not in _ACTIONS:
        raise ConfigurationError("store", " ".join(arguments), USAGE)
    action, known = _ACTIONS[words[0]]
    for name in options:
        if name not in known:
            raise ConfigurationError(f"store {words[0]}", name, f"options among {', '.join(known) or '(none)'}")
    folder = Path(words[1])
    if not folder.is_dir():
        raise ConfigurationError(f"store {words[0]}", words[1], "a folder that exists")
    return action(folder, words[2:], options)


def _store(folder: Path) -> Store:
    if not (folder / "index.sqlite").exists() and not (folder / "results").is_dir():
        raise ConfigurationError("store", str(folder), "the folder of a store (it holds index.sqlite and results/)")
    return Store(folder)


def _summary(folder: Path, words: list[str], options: dict[str, str]) -> int:
    grid = Table("simulator", "ended", "jobs", "events", "CPU time", "size", box=None, padding=(0, 3, 0, 0))
    for row in _store(folder).totals():
        ended = row["status"] if row["failure"] is None else f"{row['status']}: {row['failure']}"
        sizes = _duration(row["seconds"]), _size(row["bytes"])
        grid.add_row(row["work"][:12], ended, f"{row['jobs']}", f"{row['events']}", *sizes)
    _console().print(grid if grid.row_count else f"{folder}: no jobs yet")
    return 0


def _list(folder: Path, words: list[str], options: dict[str, str]) -> int:
    grid = Table("job", "ended", "events", "seed", "seconds", "design", "message", box=None, padding=(0, 2, 0, 0))
    status = options.get("status")
    if status is not None and status not in list(Status):
        raise ConfigurationError("status", status, f"one of {', '.join(Status)}")
    chosen = None if status is None else Status(status)
    for number, entry in enumerate(_store(folder).entries(options.get("work", ""), chosen)):
        if number == _count(options, "limit", 20):
            break
        outcome = entry.outcome
        ended = outcome.status if outcome.failure is None else f"{outcome.status}: {outcome.failure}"
        cells = f"{entry.events}", f"{entry.seed}", f"{outcome.seconds:.3g}", _design(entry), outcome.message[:60]
        grid.add_row(entry.key[:12], ended, *cells)
    _console().print(grid if grid.row_count else "no such jobs")
    return 0


def _show(folder: Path, words: list[str], options: dict[str, str]) -> int:
    store = _store(folder)
    for entry in _named(store, words):
        outcome, console = entry.outcome, _console()
        console.print(f"job        {entry.key}")
        console.print(f"simulator  {entry.work}")
        console.print(f"ended      {outcome.status}, after {outcome.attempts} attempts, {outcome.seconds:.3g} s")
        console.print(f"events     {entry.events}, seed {entry.seed}")
        console.print(f"design     {_design(entry)}")
        console.print(f"used       {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(entry.used))}")
        if outcome.failure is None:
            console.print(f"result     {store.folders.result(entry.key)}")
            continue
        kept = store.folders.quarantine(entry.key)
        console.print(f"failed     {outcome.failure}: {outcome.message}")
        console.print(f"left       {kept}")
        console.print(f"run again  mode-opt store run {shlex.quote(str(folder))} {entry.key[:12]}")
        if command := _command(store, entry):
            console.print(f"by hand    {command}")
        console.print(_tail(kept / "log.txt"))
    return 0


def _run(folder: Path, words: list[str], options: dict[str, str]) -> int:
    store, failed = _store(folder), 0
    for entry in _named(store, words):
        job, work = _job(store, entry), store.work(entry.work)
        store.forget([entry.key])
        outcome = perform(work, job, store.folders)
        if outcome.failure is None:
            store.record([(job, outcome)])
            _console().print(f"{entry.key[:12]}: done, {outcome.seconds:.3g} s, {store.folders.result(entry.key)}")
            continue
        from dataclasses import replace

        failed += 1
        store.record([(job, replace(outcome, status=Status.QUARANTINED))])
        kept = store.folders.quarantine(entry.key)
        _console().print(f"{entry.key[:12]}: {outcome.failure}: {outcome.message}\n{_tail(kept / 'log.txt')}")
    return 1 if failed else 0


def _retry(folder: Path, words: list[str], options: dict[str, str]) -> int:
    store = _store(folder)
    chosen = _named(store, words) if words else list(store.entries(status=Status.QUARANTINED))
    keys = [entry.key for entry in chosen if entry.outcome.status is Status.QUARANTINED]
    store.forget(keys)
    _console().print(f"{len(keys)} jobs released from quarantine")
    return 0


def _forget(folder: Path, words: list[str], options: dict[str, str]) -> int:
    store = _store(folder)
    keys = [entry.key for entry in _named(store, words)]
    store.forget(keys)
    _console().print(f"{len(keys)} jobs forgotten")
    return 0


def _prune(folder: Path, words: list[str], options: dict[str, str]) -> int:
    if "limit" not in options:
        raise ConfigurationError("limit", None, "a size such as 500MB or 10GB")
    _console().print(f"{_store(folder).prune(_bytes(options['limit']))} results removed")
    return 0


def _rebuild(folder: Path, words: list[str], options: dict[str, str]) -> int:
    found, damaged = _store(folder).rebuild()
    _console().print(f"{found} results found, {damaged} damaged files removed")
    return 0


def _export(folder: Path, words: list[str], options: dict[str, str]) -> int:
    if "output" not in options:
        raise ConfigurationError("output", None, "a .root or .parquet file")
    output, names = Path(options["output"]), [name for name in options.get("hits", "").split(",") if name]
    jobs, events = exported(_store(folder), output, options.get("work", ""), names)
    _console().print(f"{events} events of {jobs} jobs in {output}")
    return 0


def _work(folder: Path, words: list[str], options: dict[str, str]) -> int:
    if not (folder / "jobs").is_dir():
        raise ConfigurationError("store work", str(folder), "a folder of jobs, written with executor=file_drop")
    jobs = _count(options, "jobs", 0) if "jobs" in options else None
    seconds = float(_count(options, "seconds", 0)) if "seconds" in options else None
    worked = work_off(folder, options.get("results"), jobs, seconds, _count(options, "attempts", 3))
    _console().print(f"{worked.done} jobs done, {worked.failed} failed, {worked.left} left")
    return 0


def _named(store: Store, keys: list[str]) -> list[Entry]:
    """The jobs whose keys begin so, each exactly one."""
    if not keys:
        raise ConfigurationError("store", "", "the key of a job, or its beginning (mode-opt store list)")
    found = []
    for key in keys:
        entries = list(store.entries(key=key))
        if len(entries) != 1:
            raise ConfigurationError("store", key, f"the beginning of one key; {len(entries)} jobs begin so")
        found += entries
    return found


def _job(store: Store, entry: Entry) -> Job:
    """What the job was, from its result or from what it left behind."""
    left = store.folders.quarantine(entry.key) / "job.npz"
    if entry.outcome.status is Status.DONE:
        return Job.unpack(store.read(entry.key))
    try:
        return Job.from_bytes(left.read_bytes())
    except OSError as error:
        raise DataError(f"{left}: not there, so that job {entry.key[:12]} cannot be run again") from error


def _command(store: Store, entry: Entry) -> str:
    try:
        return store.work(entry.work).command(_job(store, entry))
    except (ConfigurationError, DataError):  # a program that has changed since, or is not here
        return ""


def _tail(path: Path) -> str:
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return "(no log)"
    return "\n".join(lines[-SHOWN_LINES:]) or "(empty log)"


def _design(entry: Entry) -> str:
    return ", ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in entry.design.items())[:70]


def _count(options: dict[str, str], name: str, default: int) -> int:
    text = options.get(name, str(default))
    if not text.isdigit() or int(text) < 1:
        raise ConfigurationError(name, text, "a positive integer")
    return int(text)


def _bytes(text: str) -> int:
    number, unit = text.rstrip("BkMGT"), text[len(text.rstrip("BkMGT")) :]
    try:
        size = float(number) * _BYTES[unit or "B"]
    except (ValueError, KeyError):
        raise ConfigurationError("limit", text, "a size such as 500MB or 10GB") from None
    if not 0 <= size < float("inf"):
        raise ConfigurationError("limit", text, "a size such as 500MB or 10GB")
    return int(size)


def _size(count: float) -> str:
    unit = next((unit for unit, size in reversed(_BYTES.items()) if count >= size), "B")
    return f"{count / _BYTES[unit]:.3g} {unit}"


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.3g} s"
        if seconds < 120
        else f"{seconds / 60:.3g} min"
        if seconds < 7200
        else f"{seconds / 3600:.3g} h"
    )


def _console() -> Console:
    console = Console(highlight=False, markup=False, soft_wrap=True)
    if not sys.stdout.isatty():  # a file has no width
        console.width = 160
    return console


_ACTIONS: dict[str, tuple[Callable[[Path, list[str], dict[str, str]], int], tuple[str, ...]]] = {
    "summary": (_summary, ()),
    "list": (_list, ("status", "work", "limit")),
    "show": (_show, ()),
    "run": (_run, ()),
    "retry": (_retry, ()),
    "forget": (_forget, ()),
    "prune": (_prune, ("limit",)),
    "rebuild": (_rebuild, ()),
    "export": (_export, ("output", "work", "hits")),
    "work": (_work, ("jobs", "seconds", "attempts", "results")),
}
