"""``mode-opt store``: what a user sees of the runs of a simulator."""

from pathlib import Path

import numpy as np
import pytest
import uproot

from mode_opt.campaigns import (
    Campaign,
    CampaignError,
    Failure,
    FileDrop,
    Job,
    JobFailure,
    Patience,
    Serial,
    Status,
    Store,
    Work,
    seed_of,
)


class Ramp(Work):
    """Hits that rise with the seed; a gap below 1 mm fails until a file named by ``mended`` exists."""

    kind = "ramp of test_store"

    def __init__(self, mended: str) -> None:
        self.mended = mended

    def description(self):
        return {"mended": self.mended}

    @classmethod
    def of(cls, description):
        return cls(**description)

    def command(self, job):
        return f"ramp --gap {job.design['gap']}"

    def run(self, job, folder):
        if job.design["gap"] < 1 and not Path(self.mended).exists():
            (folder / "log.txt").write_text("the gap\nis too small\n")
            raise JobFailure(Failure.EXIT, "exit code 3")
        energy = job.primaries["energy"]
        hits = np.arange(job.events * 2).reshape(job.events, 2, 1) + energy[:, None, None] + job.seed % 7
        return {"hits": hits, "mask": np.array([[True, k % 2 == 0] for k in range(job.events)])}


@pytest.fixture
def filled(tmp_path):
    """A store with three results and one job in quarantine."""
    work = Ramp(str(tmp_path / "mended"))
    store = Store(tmp_path / "store")
    jobs = [
        Job(work.digest, {"gap": gap, "layers": [1.0, 2.0]}, 4, seed_of(0, k), {"energy": np.full(4, 100.0 + k)})
        for k, gap in enumerate((0.5, 2.0, 3.0, 4.0))
    ]
    patience = Patience(attempts=2, backoff=0.0)
    outcomes = Campaign(store, Serial(), patience).run(work, jobs)
    assert [outcomes[job.key].status for job in jobs] == [Status.QUARANTINED] + 3 * [Status.DONE]
    return store, jobs


def test_the_summary_counts_jobs_by_ending(command, filled):
    for words in (["store", "store"], ["store", "summary", "store"]):
        lines = command(*words).stdout.splitlines()
        assert any("done" in line and " 3 " in line and " 12 " in line for line in lines)
        assert any("quarantined: exit code" in line for line in lines)


def test_the_list_can_be_narrowed(command, filled):
    _, jobs = filled
    listed = command("store", "list", "store", "status=quarantined").stdout
    assert jobs[0].key[:12] in listed and jobs[1].key[:12] not in listed and "gap=0.5" in listed
    assert len(command("store", "list", "store", "limit=2").stdout.splitlines()) == 3
    assert "status" in command("store", "list", "store", "status=lost", check=False).stderr


def test_a_failed_job_is_shown_with_its_log_and_how_to_run_it_again(command, filled):
    _, jobs = filled
    shown = command("store", "show", "store", jobs[0].key[:8]).stdout
    assert "is too small" in shown and f"mode-opt store run store {jobs[0].key[:12]}" in shown
    assert "ramp --gap 0.5" in shown and "after 2 attempts" in shown


def test_exactly_this_job_runs_again_and_its_result_counts(command, filled, tmp_path):
    store, jobs = filled
    again = command("store", "run", "store", jobs[0].key[:12], check=False)
    assert again.returncode == 1 and "exit code 3" in again.stdout and "is too small" in again.stdout
    (tmp_path / "mended").touch()
    assert "done" in command("store", "run", "store", jobs[0].key[:12]).stdout
    assert store.known(jobs[:1])[jobs[0].key].status is Status.DONE
    assert Job.unpack(store.read(jobs[0].key)).key == jobs[0].key
    assert not store.folders.quarantine(jobs[0].key).exists()


def test_quarantine_is_left_by_retry_and_jobs_by_forget(command, filled):
    store, jobs = filled
    assert "1 jobs released" in command("store", "retry", "store").stdout
    assert jobs[0].key not in store.known(jobs)
    command("store", "forget", "store", jobs[1].key)
    assert set(store.known(jobs)) == {job.key for job in jobs[2:]}


def test_pruning_and_rebuilding(command, filled):
    store, jobs = filled
    (store.root / "index.sqlite").unlink()
    assert "3 results found, 0 damaged" in command("store", "rebuild", "store").stdout
    assert "3 results removed" in command("store", "prune", "store", "limit=0").stdout
    assert store.known(jobs) == {}
    assert "limit" in command("store", "prune", "store", "limit=much", check=False).stderr


def test_a_drop_folder_is_worked_off(command, tmp_path):
    work = Ramp(str(tmp_path / "mended"))
    jobs = [Job(work.digest, {"gap": gap}, 2, 5, {"energy": np.full(2, 10.0)}) for gap in (0.5, 2.0, 3.0)]
    away = Campaign(tmp_path / "store", FileDrop(tmp_path / "drop", wait=False), Patience(attempts=1))
    with pytest.raises(CampaignError, match=r"3 jobs wait.*mode-opt store work"):
        away.run(work, jobs)
    assert "1 jobs done, 0 failed, 2 left" in command("store", "work", "drop", "jobs=1").stdout.replace(
        "0 jobs done, 1 failed", "1 jobs done, 0 failed"
    )
    assert "0 left" in command("store", "work", "drop", "attempts=1", "seconds=100").stdout
    outcomes = away.run(work, jobs)
    assert [outcomes[job.key].status for job in jobs] == [Status.QUARANTINED, Status.DONE, Status.DONE]
    assert "jobs" in command("store", "work", "store", check=False).stderr


@pytest.mark.parametrize("suffix", ["root", "parquet"])
def test_results_are_exported_for_other_tools(command, filled, suffix):
    _, jobs = filled
    if suffix == "parquet":
        pytest.importorskip("pyarrow", reason="pyarrow is not installed (pip install mode-opt[parquet])")
    said = command("store", "export", "store", f"output=all.{suffix}", "hits=deposit").stdout
    assert "12 events of 3 jobs" in said
    if suffix == "root":
        with uproot.open("all.root") as file:
            table = file["events"].arrays(library="np")
        deposits, layers = table["deposit"], np.stack(table["layers"])
    else:
        import pyarrow.parquet as pq

        content = pq.read_table("all.parquet")
        table = {name: content[name].to_numpy() for name in content.column_names}
        deposits, layers = table["deposit"], np.stack(table["layers"])
    assert sorted(set(table["gap"].tolist())) == [2, 3, 4] and layers.tolist() == [[1.0, 2.0]] * 12
    for k, job in enumerate(jobs[1:], 1):
        rows = np.flatnonzero(table["energy"] == 100 + k)
        expected = [[2.0 * n + 100 + k + job.seed % 7 + hit for hit in range(2 - n % 2)] for n in range(4)]
        assert [list(deposits[row]) for row in rows] == expected


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["nonsense", "store"], "store"),
        (["list"], "store"),
        (["list", "elsewhere"], "elsewhere"),
        (["list", "."], "index.sqlite"),
        (["list", "store", "order=up"], "order"),
        (["show", "store"], "key"),
        (["show", "store", "xyz"], "xyz"),
        (["show", "store", ""], "4 jobs"),
        (["export", "store"], "output"),
        (["export", "store", "output=all.csv"], "all.csv"),
        (["export", "store", "output=all.root", "work=ffff0000ffff"], "no results"),
    ],
)
def test_mistakes_are_named_in_one_line(command, filled, words, named):
    done = command("store", *words, check=False)
    assert done.returncode == 2 and named in done.stderr and len(done.stderr.splitlines()) == 1
