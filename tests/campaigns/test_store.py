"""The store: results are found again, whatever happened to the files."""

import sqlite3
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import works

from mode_opt.campaigns import Campaign, CampaignError, Failure, Job, Outcome, Serial, Status, Store
from mode_opt.errors import ConfigurationError, DataError


@pytest.fixture
def work():
    return works.Noise()


@pytest.fixture
def filled(tmp_path, work):
    store, jobs = Store(tmp_path / "store"), works.jobs_of(work, 5)
    Campaign(store, Serial()).run(work, jobs)
    return store, jobs


def test_results_are_known_to_whoever_opens_the_store(filled):
    store, jobs = filled
    known = Store(store.root).known(jobs)
    assert set(known) == {job.key for job in jobs}
    assert all(o.status is Status.DONE and o.reused and o.bytes > 0 for o in known.values())
    arrays = store.read(jobs[0].key)
    assert arrays["hits"].shape == (3, 2, 1) and Job.unpack(arrays).key == jobs[0].key


def test_results_that_the_index_lost_are_adopted(filled):
    store, jobs = filled
    (store.root / "index.sqlite").unlink()
    fresh = Store(store.root)
    assert list(fresh.entries()) == []
    assert set(fresh.known(jobs[:3])) == {job.key for job in jobs[:3]}
    assert len(list(fresh.entries())) == 3


def test_a_result_that_was_deleted_is_not_known(filled):
    store, jobs = filled
    store.folders.result(jobs[0].key).unlink()
    assert jobs[0].key not in store.known(jobs)


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 truncated"])
def test_damaged_results_are_removed_when_the_index_is_rebuilt(filled, content):
    store, jobs = filled
    path = store.folders.result(jobs[0].key)
    path.write_bytes(content)
    with pytest.raises(DataError, match=jobs[0].key[:12]):
        store.read(jobs[0].key)
    assert store.rebuild() == (4, 1)
    assert not path.exists() and jobs[0].key not in store.known(jobs)
    assert {entry.key for entry in store.entries()} == {job.key for job in jobs[1:]}


def test_a_result_under_a_wrong_name_is_removed(filled):
    store, jobs = filled
    good, other = store.folders.result(jobs[0].key), store.folders.result(jobs[1].key)
    other.write_bytes(good.read_bytes())
    assert store.rebuild() == (4, 1) and good.exists() and not other.exists()


def test_a_truncated_result_the_index_does_not_know_is_not_adopted(filled):
    store, jobs = filled
    path = store.folders.result(jobs[0].key)
    path.write_bytes(path.read_bytes()[:-40])
    (store.root / "index.sqlite").unlink()
    assert set(Store(store.root).known(jobs)) == {job.key for job in jobs[1:]}
    assert not path.exists()


@pytest.mark.parametrize("keep", [0, 2000])
def test_a_damaged_index_is_made_anew(filled, keep):
    store, jobs = filled
    index = store.root / "index.sqlite"
    index.write_bytes(index.read_bytes()[:keep] + b"damaged" * 2000)
    fresh = Store(store.root)
    fresh.rebuild()
    assert set(fresh.known(jobs)) == {job.key for job in jobs}
    assert (store.root / "index.damaged").exists()


def test_a_store_of_a_later_version_is_refused(tmp_path):
    store = Store(tmp_path)
    with sqlite3.connect(store.root / "index.sqlite") as connection:
        connection.execute("pragma user_version = 2")
    connection.close()
    with pytest.raises(ConfigurationError, match="version 1, not 2"):
        Store(tmp_path)


def test_unusable_settings_are_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"campaign\.store"):
        Store(tmp_path / "file" / "store")
    with pytest.raises(ConfigurationError, match=r"campaign\.limit"):
        Store(tmp_path / "store", limit=0)


@pytest.mark.parametrize("text", ["*", "a*", "[ab]", "?", "../x", "AB", "'"])
def test_keys_are_never_patterns_or_paths(filled, text):
    store, _ = filled
    with pytest.raises(ConfigurationError, match="hexadecimal"):
        list(store.entries(key=text))
    with pytest.raises(ConfigurationError, match="hexadecimal"):
        list(store.entries(work=text))
    with pytest.raises(ConfigurationError, match="hexadecimal"):
        store.forget([text])
    with pytest.raises(ConfigurationError, match="hexadecimal"):
        store.work(text)


def test_entries_are_chosen_by_beginning_and_status(filled, work):
    store, jobs = filled
    store.record([(jobs[0], Outcome(jobs[0].key, Status.QUARANTINED, Failure.EXIT, "exit code 3", attempts=3))])
    (entry,) = store.entries(status=Status.QUARANTINED)
    assert (entry.key, entry.outcome.failure, entry.outcome.message) == (jobs[0].key, Failure.EXIT, "exit code 3")
    assert [entry.key for entry in store.entries(key=jobs[1].key[:10])] == [jobs[1].key]
    assert len(list(store.entries(work=work.digest[:8]))) == 5 and list(store.entries(work="0" * 64)) == []


def test_pages_of_entries_neither_repeat_nor_lose_any_and_let_others_write(tmp_path, work, monkeypatch):
    monkeypatch.setattr("mode_opt.campaigns.store.CHUNK", 7)
    store, jobs = Store(tmp_path), works.jobs_of(work, 40)
    monkeypatch.setattr(time, "time", lambda: 1e9)  # equal times: the key decides
    store.record((job, Outcome(job.key, Status.QUARANTINED)) for job in jobs)
    seen = []
    for entry in store.entries():
        seen.append(entry.key)
        store.forget([entry.key])
    assert sorted(seen) == sorted(job.key for job in jobs) and list(store.entries()) == []


def test_what_was_not_used_for_longest_goes_first(filled):
    store, jobs = filled
    store.known(jobs[:2])  # used now
    size = sum(store.folders.result(jobs[k].key).stat().st_size for k in (0, 1, 4))
    assert store.prune(limit=size, keep=frozenset({jobs[4].key})) == 2
    assert set(store.known(jobs)) == {jobs[k].key for k in (0, 1, 4)}
    assert not store.folders.result(jobs[2].key).exists()
    assert store.prune() == 0  # a store without a limit


def test_a_store_with_a_limit_keeps_it(tmp_path, work):
    jobs = works.jobs_of(work, 6)
    Campaign(Store(tmp_path), Serial()).run(work, jobs)
    store = Store(tmp_path, limit=1)
    Campaign(store, Serial()).run(work, jobs[:2])
    assert set(store.known(jobs)) == {job.key for job in jobs[:2]}  # a request's own results stay


def test_forgotten_jobs_leave_nothing(filled):
    store, jobs = filled
    store.folders.quarantine(jobs[0].key).mkdir()
    store.forget([jobs[0].key])
    assert not store.folders.quarantine(jobs[0].key).exists() and jobs[0].key not in store.known(jobs)


def test_a_quarantined_job_whose_result_came_after_all_is_done(filled):
    store, jobs = filled
    store.record([(jobs[0], Outcome(jobs[0].key, Status.QUARANTINED, Failure.EXIT, "exit code 3"))])
    assert store.known(jobs)[jobs[0].key].status is Status.DONE


def test_simulators_come_back_by_their_digest_and_only_unchanged(filled, work):
    store, _ = filled
    assert store.work(work.digest).digest == work.digest
    path = store.folders.work(work.digest)
    path.write_text(path.read_text().replace('"times": 0', '"times": 1'))
    with pytest.raises(DataError, match="does not describe"):
        store.work(work.digest)
    path.write_text("{}")
    with pytest.raises(DataError, match="no description"):
        store.work(work.digest)
    path.write_text('{"kind": "os.system", "description": {}}')
    with pytest.raises(ConfigurationError, match=r"work\.kind"):
        store.work(work.digest)


RECORD = """
import sys
sys.path.insert(0, sys.argv[2])
import works
from mode_opt.campaigns import Outcome, Status, Store
store = Store(sys.argv[1])
for job in works.jobs_of(works.Noise(), 150, base=int(sys.argv[3])):
    store.record([(job, Outcome(job.key, Status.QUARANTINED))])
"""


def test_two_processes_write_at_the_same_time(tmp_path):
    helpers = works.__file__.rpartition("/")[0]
    command = [sys.executable, "-c", RECORD, str(tmp_path / "store"), helpers]
    processes = [subprocess.Popen([*command, str(base)]) for base in (1, 2)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert len(list(Store(tmp_path / "store").entries())) == 300


def test_an_index_that_cannot_be_written_ends_the_campaign_with_a_clear_message(filled, monkeypatch):
    store, jobs = filled

    class Full:
        def execute(self, *_):
            raise sqlite3.OperationalError("database or disk is full")

        def close(self):
            pass

    monkeypatch.setattr(store, "_connection", lambda: __import__("contextlib").closing(Full()))
    with pytest.raises(CampaignError, match="disk is full"):
        store.touch([jobs[0].key])


def test_many_entries_open_and_answer_quickly(tmp_path, work):
    """The benchmark is scripts/benchmarks/campaign.py; here 20 times fewer entries and a generous limit."""
    store = Store(tmp_path)
    jobs = works.jobs_of(work, 5000, events=1)
    store.record((job, Outcome(job.key, Status.QUARANTINED)) for job in jobs)
    start = time.perf_counter()
    again = Store(tmp_path)
    again.known(jobs[:500])
    again.totals()
    next(again.entries())
    assert time.perf_counter() - start < 1.0


def test_threads_of_one_process_share_a_store(tmp_path, work):
    store, jobs = Store(tmp_path), works.jobs_of(work, 60)
    parts = [jobs[k::3] for k in range(3)]
    threads = [
        threading.Thread(target=lambda part=part: [store.record([(j, Outcome(j.key, Status.DROPPED))]) for j in part])
        for part in parts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(store.entries())) == 60


def test_results_have_the_events_of_their_seed(filled):
    store, jobs = filled
    expected = 1.0 + np.random.default_rng(jobs[2].seed).normal(size=(3, 2, 1))
    np.testing.assert_allclose(store.read(jobs[2].key)["hits"], expected.astype(np.float32))
