"""Campaigns: each job once, retries, quarantine, stragglers, limits."""

import math
import threading
import time
from concurrent.futures import Future
from pathlib import Path

import pytest
import works

from mode_opt.campaigns import (
    Campaign,
    CampaignError,
    Executor,
    Failure,
    Patience,
    Processes,
    Serial,
    Status,
    Store,
    Task,
)
from mode_opt.campaigns.pace import Pace
from mode_opt.errors import ConfigurationError

FAST = Patience(backoff=0.0)


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


def count(runs, job=None):
    return len(list(runs.glob("*" if job is None else f"{job.seed}.*"))) if runs.exists() else 0


def test_each_job_is_run_once_whoever_asks(tmp_path, runs):
    work = works.Noise(str(runs))
    jobs = works.jobs_of(work, 12)
    with Campaign(tmp_path / "store", Processes(2)) as campaign:
        first = campaign.run(work, jobs + jobs[:5])
        assert len(first) == 12 and all(o.status is Status.DONE and not o.reused for o in first.values())
        assert count(runs) == 12
        second = campaign.run(work, jobs)
    assert count(runs) == 12 and all(o.reused for o in second.values())
    with Campaign(tmp_path / "store", Serial()) as other:
        assert set(other.run(works.Noise(str(runs)), jobs)) == set(first) and count(runs) == 12


def test_results_do_not_depend_on_executor_or_order(tmp_path):
    work = works.Noise()
    jobs = works.jobs_of(work, 30)
    found = []
    for name, executor, order in (("a", Serial(), jobs), ("b", Processes(3), jobs[::-1])):
        with Campaign(tmp_path / name, executor) as campaign:
            campaign.run(work, order)
            found.append(works.results(campaign.store, jobs))
    assert found[0] == found[1]


def test_jobs_may_come_from_a_generator_that_is_not_run_ahead_of(tmp_path, monkeypatch):
    monkeypatch.setattr("mode_opt.campaigns.campaign.CHUNK", 10)
    work, taken = works.Noise(), []

    def generator():
        for job in works.jobs_of(work, 55):
            taken.append(job)
            yield job

    campaign, most = Campaign(tmp_path, Serial()), 0
    for ended, _ in enumerate(campaign.stream(work, generator(), total=55)):
        most = max(most, len(taken) - ended)
    assert len(taken) == 55 and ended == 54 and most <= 16


def test_an_abandoned_stream_loses_nothing_that_was_done(tmp_path, runs):
    work = works.Noise(str(runs))
    jobs = works.jobs_of(work, 20)
    campaign = Campaign(tmp_path / "store", Serial())
    stream = campaign.stream(work, jobs)
    done = [next(stream).key for _ in range(3)]
    stream.close()
    known = campaign.store.known(jobs)
    assert set(done) <= set(known) and len(known) == count(runs) < 20
    campaign.run(work, jobs)
    assert count(runs) == 20


@pytest.mark.parametrize("wrong", ["EXIT", "CRASH", "HANG", "MISSING", "UNREADABLE", "COUNT", "raise", "short"])
def test_what_may_help_is_tried_again(tmp_path, runs, wrong):
    seed = works.jobs_of(works.Noise(), 3)[1].seed
    work = works.Noise(str(runs), fails={str(seed): wrong}, times=2)
    jobs = works.jobs_of(work, 3)
    tallies = []
    campaign = Campaign(tmp_path / "store", Serial(), FAST, report=lambda tally: tallies.append(tally.retried))
    outcomes = campaign.run(work, jobs)
    assert [outcomes[job.key].attempts for job in jobs] == [1, 3, 1] and tallies[-1] == 2
    assert all(o.status is Status.DONE for o in outcomes.values())
    assert not campaign.store.folders.quarantine(jobs[1].key).exists()


def test_attempts_are_further_and_further_apart(tmp_path, runs):
    work = works.Noise(str(runs), fails={str(works.jobs_of(works.Noise(), 1)[0].seed): "EXIT"})
    campaign = Campaign(tmp_path / "store", Serial(), Patience(attempts=3, backoff=0.15))
    campaign.run(work, works.jobs_of(work, 1))
    moments = sorted(int(path.name.split(".")[2]) / 1e9 for path in runs.iterdir())
    assert moments[1] - moments[0] >= 0.15 and moments[2] - moments[1] >= 0.3


def test_jobs_that_rest_keep_nobody_waiting(tmp_path):
    jobs = works.jobs_of(works.Noise(), 12)
    work = works.Noise(fails={str(jobs[0].seed): "EXIT"}, times=0)
    order = [o.key for o in Campaign(tmp_path, Serial(), Patience(2, 0.5)).stream(work, works.jobs_of(work, 12))]
    assert order[-1] == works.jobs_of(work, 12)[0].key


def test_what_goes_on_failing_is_put_in_quarantine_and_remembered(tmp_path, runs):
    seeds = [job.seed for job in works.jobs_of(works.Noise(), 20)]
    work = works.Noise(str(runs), fails={str(seeds[3]): "CRASH", str(seeds[7]): "hits"})
    jobs = works.jobs_of(work, 20)
    campaign = Campaign(tmp_path / "store", Processes(2), FAST)
    outcomes = campaign.run(work, jobs)
    failed = {k: outcomes[jobs[k].key] for k in range(20) if outcomes[jobs[k].key].status is not Status.DONE}
    assert {k: (o.status, o.failure, o.attempts) for k, o in failed.items()} == {
        3: (Status.QUARANTINED, Failure.CRASH, 3),
        7: (Status.QUARANTINED, Failure.NOT_FINITE, 1),  # the same seed gives the same NaN
    }
    kept = campaign.store.folders.quarantine(jobs[3].key)
    assert (kept / "log.txt").exists() and (kept / "job.npz").exists()
    before = count(runs)
    again = campaign.run(work, jobs)
    assert count(runs) == before and again[jobs[3].key].failure is Failure.CRASH
    campaign.store.forget([jobs[3].key])
    campaign.run(work, jobs)
    assert count(runs) == before + 3


def test_too_many_failures_end_the_campaign_with_a_message_that_helps(tmp_path):
    seeds = works.seeds_of(works.jobs_of(works.Noise(), 40))
    work = works.Noise(fails=dict.fromkeys(seeds[::2], "EXIT"))
    campaign = Campaign(tmp_path, Serial(), Patience(1, 0.0, failed=0.3))
    with pytest.raises(CampaignError) as caught:
        campaign.run(work, works.jobs_of(work, 40))
    words = str(caught.value)
    for part in ("campaign.patience.failed = 0.3", "exit code", "EXIT as wanted", "quarantine", "mode-opt store run"):
        assert part in words
    assert 10 <= campaign.ended < 40


def test_failures_of_earlier_sessions_do_not_end_this_one(tmp_path):
    seeds = works.seeds_of(works.jobs_of(works.Noise(), 60))
    work = works.Noise(fails=dict.fromkeys(seeds[:20], "EXIT"))
    jobs = works.jobs_of(work, 60)
    with pytest.raises(CampaignError):
        Campaign(tmp_path, Serial(), Patience(1, 0.0)).run(work, jobs[:20])
    outcomes = Campaign(tmp_path, Serial(), Patience(1, 0.0)).run(work, jobs[:8] + jobs[20:])
    assert sum(o.status is Status.QUARANTINED for o in outcomes.values()) == 8


def test_as_many_failures_as_allowed_end_nothing_by_chance(tmp_path):
    seeds = works.seeds_of(works.jobs_of(works.Noise(), 50))
    work = works.Noise(fails=dict.fromkeys([*seeds[3:8], *seeds[12::4]], "EXIT"))  # five in a row, 30 % in all
    outcomes = Campaign(tmp_path, Serial(), Patience(1, 0.0)).run(work, works.jobs_of(work, 50))
    assert sum(o.status is Status.QUARANTINED for o in outcomes.values()) == 15


def test_few_failures_among_few_jobs_do_not(tmp_path):
    seeds = works.seeds_of(works.jobs_of(works.Noise(), 4))
    work = works.Noise(fails=dict.fromkeys(seeds[:3], "EXIT"))
    outcomes = Campaign(tmp_path, Serial(), Patience(1, 0.0)).run(work, works.jobs_of(work, 4))
    assert sum(o.status is Status.QUARANTINED for o in outcomes.values()) == 3


def test_a_full_disk_stops_the_campaign_and_blames_no_job(tmp_path):
    work = works.Noise(fails={works.seeds_of(works.jobs_of(works.Noise(), 5))[2]: "os"})
    campaign = Campaign(tmp_path, Serial(), FAST)
    with pytest.raises(CampaignError, match="no space left"):
        campaign.run(work, works.jobs_of(work, 5))
    assert all(entry.outcome.status is Status.DONE for entry in campaign.store.entries())
    assert len(list(campaign.store.entries())) >= 2


def test_a_mistake_in_the_configuration_stops_the_campaign(tmp_path):
    class Mistaken(works.Noise):
        kind = "mistaken in a campaign"

        def run(self, job, folder):
            raise ConfigurationError("program.command", "x", "a program")

    for executor in (Serial(), Processes(2)):
        with pytest.raises(ConfigurationError, match=r"program\.command"):
            Campaign(tmp_path / "store", executor).run(Mistaken(), works.jobs_of(Mistaken(), 5))


class Unsteady(Executor):
    """Loses tasks: the worker dies at the jobs named by ``poison``, after the jobs before it in the task are done.

    Args:
        poison: keys.
        times: that each kills its worker; 0: always.
        refuses: tasks after so many.
    """

    def __init__(self, poison, times=0, refuses=math.inf):
        self.poison, self.times, self.refuses = dict.fromkeys(poison, 0), times, refuses
        self.tasks: list[int] = []

    @property
    def capacity(self):
        return 1

    @property
    def task_seconds(self):
        return 10.0

    def submit(self, task):
        if len(self.tasks) >= self.refuses:
            raise RuntimeError("cannot schedule new futures")
        self.tasks.append(len(task.jobs))
        future = Future()
        outcomes = []
        for job in task.jobs:
            deaths = self.poison.get(job.key)
            if deaths is not None and (self.times == 0 or deaths < self.times):
                self.poison[job.key] += 1
                future.set_exception(ConnectionError("the worker died"))
                return future
            outcomes += type(task)(task.work, [job], task.root).run()
        future.set_result(outcomes)
        return future

    def close(self, wait=True):
        pass


def test_a_worker_that_dies_takes_only_the_job_along_that_killed_it(tmp_path, runs):
    work = works.Noise(str(runs))
    jobs = works.jobs_of(work, 40)
    executor = Unsteady([jobs[20].key])
    outcomes = Campaign(tmp_path / "store", executor, FAST).run(work, jobs)
    lost = [outcomes.pop(jobs[20].key)]
    assert [(o.status, o.failure, o.attempts) for o in lost] == [(Status.QUARANTINED, Failure.LOST, 3)]
    assert all(o.status is Status.DONE for o in outcomes.values()) and count(runs) == 39
    assert max(executor.tasks) > 1
    kept = tmp_path / "store" / "quarantine" / jobs[20].key
    assert {path.name for path in kept.iterdir()} == {"job.npz", "failure.json"}


def test_a_worker_that_dies_once_loses_nothing(tmp_path, runs):
    work = works.Noise(str(runs))
    jobs = works.jobs_of(work, 40)
    outcomes = Campaign(tmp_path / "store", Unsteady([jobs[5].key, jobs[30].key], 1), FAST).run(work, jobs)
    assert all(o.status is Status.DONE for o in outcomes.values()) and count(runs) == 40


def test_an_executor_that_takes_no_jobs_ends_the_campaign(tmp_path):
    work = works.Noise()
    with pytest.raises(CampaignError, match="cannot schedule"):
        Campaign(tmp_path, Unsteady([], refuses=2), FAST).run(work, works.jobs_of(work, 40))


def test_stragglers_are_dropped_if_that_is_wanted(tmp_path):
    hold, begun = threading.Event(), threading.Event()

    class Slow(works.Noise):
        kind = "slow"

        def run(self, job, folder):
            if job.key == slow.key:
                begun.set()
                hold.wait(60)
            return super().run(job, folder)

    jobs = works.jobs_of(Slow(), 10)
    slow = jobs[4]
    executor = Processes(2)
    campaign = Campaign(tmp_path, executor, Patience(stragglers=0.8))
    try:
        outcomes = campaign.run(Slow(), jobs)
    finally:
        hold.set()
    assert (
        begun.is_set() and outcomes[slow.key].status is Status.DROPPED and "dropped after" in outcomes[slow.key].message
    )
    assert sum(o.status is Status.DONE for o in outcomes.values()) == 9
    executor.close()
    assert campaign.run(Slow(), jobs)[slow.key].status is Status.DONE  # its result came too late, but is not lost


def test_without_that_wish_stragglers_are_awaited(tmp_path):
    jobs = works.jobs_of(works.Noise(), 6)

    class Slow(works.Noise):
        kind = "slow and awaited"

        def run(self, job, folder):
            time.sleep(1.5 if job.seed == jobs[0].seed else 0.0)
            return super().run(job, folder)

    outcomes = Campaign(tmp_path, Processes(2)).run(Slow(), works.jobs_of(Slow(), 6))
    assert all(o.status is Status.DONE for o in outcomes.values())


def test_the_tally_counts_what_ended_how(tmp_path):
    seeds = works.seeds_of(works.jobs_of(works.Noise(), 10))
    work = works.Noise(fails={seeds[0]: "hits"})
    jobs, tallies = works.jobs_of(work, 10), []
    campaign = Campaign(tmp_path, Serial(), FAST, report=tallies.append)
    campaign.run(work, jobs[:4])
    first = tallies[-1]
    assert (first.total, first.ended, first.reused, first.quarantined) == (4, 4, 0, 1) and first.rate > 0
    campaign.run(work, jobs + jobs)
    last = tallies[-1]
    assert (last.total, last.ended, last.reused, last.quarantined) == (10, 10, 4, 1) and last.remaining == 0
    assert campaign.summary()["failed"] == {"not finite": 2} and campaign.summary()["jobs"] == 14


def test_closing_without_waiting_stops_programs(tmp_path):
    work = works.Script("import time; open('here', 'w').close(); time.sleep(600)")
    campaign = Campaign(tmp_path, Processes(2), Patience(1))
    tasks = [campaign.executor.submit(_task(work, job, campaign.store)) for job in works.jobs_of(work, 4)]
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("running/*/here"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    start = time.monotonic()
    campaign.executor.close(wait=False)
    assert all(task.done() for task in tasks) and time.monotonic() - start < 30
    assert sum(task.cancelled() for task in tasks) == 2


def _task(work, job, store):
    store.register(work)
    return Task(work, [job], store.root)


def test_the_executor_may_be_used_again_after_it_was_closed(tmp_path):
    work, executor = works.Noise(), Processes(2)
    for base in (1, 2):
        with Campaign(tmp_path, executor) as campaign:
            assert len(campaign.run(work, works.jobs_of(work, 3, base=base))) == 3


def test_tasks_grow_until_they_last_and_all_workers_have_some():
    pace, executor = Pace(), Processes(2)
    assert pace.size(executor, 1000) == 1  # nothing is known yet
    for _ in range(10):
        pace.note(0.001)
    assert pace.size(executor, 1000) == math.ceil(executor.task_seconds / 0.001)
    assert pace.size(executor, 8) == 2 and pace.size(executor, 1) == 1
    for _ in range(300):
        pace.note(100.0)
    assert pace.size(executor, 1000) == 1 and pace.median == 100.0


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"attempts": 0}, "attempts"),
        ({"backoff": -1.0}, "backoff"),
        ({"backoff": math.inf}, "backoff"),
        ({"failed": 0.0}, "failed"),
        ({"stragglers": 1.5}, "stragglers"),
    ],
)
def test_patience_out_of_range_is_refused(settings, key):
    with pytest.raises(ConfigurationError, match=rf"campaign\.patience\.{key}"):
        Patience(**settings)


def test_no_workers_are_refused():
    with pytest.raises(ConfigurationError, match=r"executor\.workers"):
        Processes(0)


def test_a_store_may_be_named_by_its_folder(tmp_path):
    assert Campaign(str(tmp_path / "a")).store.root == Store(Path(tmp_path) / "a").root
