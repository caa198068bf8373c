"""Job list out, results in."""

import shutil
import subprocess
import sys
import threading
import time

import pytest
import works

from mode_opt.campaigns import Campaign, CampaignError, Failure, FileDrop, Job, Patience, Serial, Status, work_off
from mode_opt.errors import ConfigurationError, DataError


@pytest.fixture
def drop(tmp_path):
    return tmp_path / "drop"


def names(folder):
    return sorted(path.stem for path in folder.glob("jobs/*.npz"))


def test_without_waiting_all_jobs_are_written_and_a_later_session_goes_on(tmp_path, drop, monkeypatch):
    monkeypatch.setattr("mode_opt.campaigns.campaign.CHUNK", 10)
    work = works.Noise()
    jobs = works.jobs_of(work, 35)
    with pytest.raises(CampaignError, match=rf"35 jobs wait in .*mode-opt store work {drop}"):
        Campaign(tmp_path / "store", FileDrop(drop, wait=False)).run(work, iter(jobs))
    assert names(drop) == sorted(job.key for job in jobs)
    assert work_off(drop, jobs=20).done == 20 and len(names(drop)) == 15
    with pytest.raises(CampaignError, match="15 jobs wait"):
        Campaign(tmp_path / "store", FileDrop(drop, wait=False)).run(work, jobs)
    worked = work_off(drop)
    assert (worked.done, worked.failed, worked.left) == (15, 0, 0)
    campaign = Campaign(tmp_path / "store", FileDrop(drop, wait=False))
    outcomes = campaign.run(work, jobs)
    assert all(o.status is Status.DONE for o in outcomes.values())
    with Campaign(tmp_path / "plain", Serial()) as plain:
        plain.run(work, jobs)
    assert works.results(campaign.store, jobs) == works.results(plain.store, jobs)
    assert list(drop.glob("results/*/*.npz")) == [] and names(drop) == []  # moved, not copied


def test_a_session_that_waits_gets_results_as_workers_bring_them(tmp_path, drop):
    work = works.Noise()
    jobs = works.jobs_of(work, 20)
    over = threading.Event()

    def serve():
        while not over.is_set():
            work_off(drop)
            time.sleep(0.02)

    workers = [threading.Thread(target=serve) for _ in range(2)]
    for worker in workers:
        worker.start()
    try:
        outcomes = Campaign(tmp_path / "store", FileDrop(drop)).run(work, jobs)
    finally:
        over.set()
        for worker in workers:
            worker.join()
    assert len(outcomes) == 20 and all(o.status is Status.DONE for o in outcomes.values())


def test_failures_come_back_with_their_logs_and_are_not_tried_without_end(tmp_path, drop):
    seeds = works.seeds_of(works.jobs_of(works.Noise(), 6))
    runs = tmp_path / "runs"
    work = works.Noise(str(runs), fails={seeds[1]: "CRASH", seeds[2]: "hits"})
    jobs = works.jobs_of(work, 6)
    campaign = Campaign(tmp_path / "store", FileDrop(drop, wait=False))
    with pytest.raises(CampaignError, match="6 jobs wait"):
        campaign.run(work, jobs)
    assert work_off(drop, attempts=2).failed == 2
    outcomes = campaign.run(work, jobs)
    assert outcomes[jobs[1].key].failure is Failure.CRASH and outcomes[jobs[2].key].failure is Failure.NOT_FINITE
    assert (campaign.store.folders.quarantine(jobs[1].key) / "log.txt").exists()
    assert len(list(runs.glob(f"{seeds[1]}.*"))) == 2 and len(list(runs.glob(f"{seeds[2]}.*"))) == 1
    assert campaign.run(work, jobs)[jobs[1].key].reused  # known as failed
    campaign.store.forget([jobs[1].key])
    with pytest.raises(CampaignError, match="1 jobs wait"):
        campaign.run(work, jobs)
    assert names(drop) == [jobs[1].key]


def test_results_may_be_brought_back_from_another_place_even_slowly(tmp_path, drop):
    work, elsewhere = works.Noise(), tmp_path / "elsewhere"
    jobs = works.jobs_of(work, 4)
    campaign = Campaign(tmp_path / "store", FileDrop(drop, wait=False))
    with pytest.raises(CampaignError):
        campaign.run(work, jobs)
    shutil.copytree(drop, elsewhere)
    work_off(elsewhere, results=tmp_path / "out")
    files = sorted((tmp_path / "out").glob("results/*/*.npz"))
    assert len(files) == 4 and names(elsewhere) == []
    for path in files:
        target = drop / "results" / path.parent.name / path.name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes()[:-100])  # half of it is there
    with pytest.raises(CampaignError, match="4 jobs wait"):
        campaign.run(work, jobs)
    shutil.copytree(tmp_path / "out" / "results", drop / "results", dirs_exist_ok=True)
    assert all(o.status is Status.DONE for o in campaign.run(work, jobs).values())


def test_a_result_under_a_wrong_name_is_not_taken(tmp_path, drop):
    work = works.Noise()
    one, two = jobs = works.jobs_of(work, 2)
    campaign = Campaign(tmp_path / "store", FileDrop(drop, wait=False))
    with pytest.raises(CampaignError):
        campaign.run(work, jobs)
    work_off(drop)
    folders = campaign.executor.folders
    folders.result(one.key).write_bytes(folders.result(two.key).read_bytes())
    with pytest.raises(CampaignError, match="1 jobs wait"):
        campaign.run(work, jobs)
    assert set(campaign.store.known(jobs)) == {two.key}


WORKER = """
import sys
sys.path.insert(0, sys.argv[2])
import works
from mode_opt.campaigns import work_off
print(work_off(sys.argv[1]).done, flush=True)
"""


def test_several_workers_share_a_folder_and_one_may_be_killed(tmp_path, drop):
    runs = tmp_path / "runs"
    work = works.Noise(str(runs), seconds=0.1)
    jobs = works.jobs_of(work, 24)
    campaign = Campaign(tmp_path / "store", FileDrop(drop, wait=False))
    with pytest.raises(CampaignError):
        campaign.run(work, jobs)
    command = [sys.executable, "-c", WORKER, str(drop), works.__file__.rpartition("/")[0]]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    deadline = time.monotonic() + 60
    while len(names(drop)) == 24 and time.monotonic() < deadline:
        time.sleep(0.01)
    workers[0].kill()
    said = [worker.communicate(timeout=120)[0] for worker in workers]
    work_off(drop)  # what the killed one was at
    assert said[0] == "" and int(said[1]) > 0 and names(drop) == []
    assert 24 <= len(list(runs.iterdir())) <= 25  # none twice, but that one
    assert all(o.status is Status.DONE for o in campaign.run(work, jobs).values())


def test_a_worker_keeps_to_its_limits(tmp_path, drop):
    work = works.Noise()
    with pytest.raises(CampaignError):
        Campaign(tmp_path / "store", FileDrop(drop, wait=False)).run(work, works.jobs_of(work, 5))
    assert work_off(drop, jobs=2).left == 3
    assert work_off(drop, seconds=0.0).done == 0 and len(names(drop)) == 3
    with pytest.raises(ConfigurationError, match="attempts"):
        work_off(drop, attempts=0)


def test_files_that_are_no_jobs_are_refused(tmp_path, drop):
    work = works.Noise()
    (job,) = jobs = works.jobs_of(work, 1)
    with pytest.raises(CampaignError):
        Campaign(tmp_path / "store", FileDrop(drop, wait=False)).run(work, jobs)
    path = drop / "jobs" / f"{job.key}.npz"
    path.rename(drop / "jobs" / f"{'0' * 64}.npz")
    with pytest.raises(DataError, match="holds job"):
        work_off(drop)
    (drop / "jobs" / f"{'0' * 64}.npz").write_bytes(b"garbage")
    with pytest.raises(DataError, match="not a complete"):
        work_off(drop)
    stranger = Job("../../etc/passwd", {}, 1, 1)
    (drop / "jobs" / f"{'0' * 64}.npz").unlink()
    (drop / "jobs" / f"{stranger.key}.npz").write_bytes(stranger.to_bytes())
    with pytest.raises(ConfigurationError, match="hexadecimal"):
        work_off(drop)


def test_patience_is_the_workers(tmp_path, drop):
    """The campaign does not send a job again that a worker has given up."""
    seeds = works.seeds_of(works.jobs_of(works.Noise(), 2))
    work = works.Noise(fails={seeds[0]: "EXIT"})
    campaign = Campaign(tmp_path / "store", FileDrop(drop, wait=False), Patience(attempts=50))
    with pytest.raises(CampaignError):
        campaign.run(work, works.jobs_of(work, 2))
    work_off(drop)
    assert len(campaign.run(work, works.jobs_of(work, 2))) == 2
