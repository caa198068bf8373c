"""Dask clusters."""

import sys
import time

import pytest
import torch
import works

from mode_opt.campaigns import Campaign, DaskExecutor, Failure, Patience, Processes, Serial, Status
from mode_opt.design import Design
from mode_opt.detectors.benchmarks import UniformInputs
from mode_opt.errors import ConfigurationError
from mode_opt.gradients import LocalRegression, Pipeline, Sampling
from mode_opt.simulation import Counted, ExternalSimulator

pytest.importorskip("distributed", reason="distributed is not installed (pip install mode-opt[dask])")


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes on this machine."""
    executor = DaskExecutor(2, task_seconds=0.2)
    yield executor
    executor.close()


def test_results_are_those_of_any_other_executor(tmp_path, cluster):
    work = works.Noise()
    jobs = works.jobs_of(work, 60)
    found = []
    for name, executor in (("dask", cluster), ("serial", Serial())):
        campaign = Campaign(tmp_path / name, executor)
        outcomes = campaign.run(work, jobs)
        assert len(outcomes) == 60 and all(o.status is Status.DONE for o in outcomes.values())
        found.append(works.results(campaign.store, jobs))
    assert found[0] == found[1]
    assert cluster.capacity == 2


def test_failures_come_home(tmp_path, cluster):
    seeds = works.seeds_of(works.jobs_of(works.Noise(), 10))
    work = works.Noise(str(tmp_path / "runs"), fails={seeds[2]: "CRASH", seeds[5]: "raise"})
    jobs = works.jobs_of(work, 10)
    outcomes = Campaign(tmp_path / "store", cluster, Patience(2, 0.0)).run(work, jobs)
    assert [k for k in range(10) if outcomes[jobs[k].key].status is Status.QUARANTINED] == [2, 5]
    assert outcomes[jobs[2].key].failure is Failure.CRASH and outcomes[jobs[5].key].failure is Failure.RAISED


def test_futures_are_let_go_of(tmp_path, cluster):
    work = works.Noise()
    Campaign(tmp_path, cluster).run(work, works.jobs_of(work, 50))
    deadline = time.monotonic() + 30
    while cluster._client.futures and time.monotonic() < deadline:  # the last is let go of after its callback
        time.sleep(0.01)
    assert not cluster._client.futures and not cluster._tasks


def test_workers_that_die_are_replaced_and_their_jobs_run_again(tmp_path):
    seeds = works.seeds_of(works.jobs_of(works.Noise(), 8))
    work = works.Noise(str(tmp_path / "runs"), fails={seeds[1]: "die"}, times=1)
    jobs = works.jobs_of(work, 8)
    with Campaign(tmp_path / "store", DaskExecutor(1), Patience(3, 0.0)) as campaign:
        outcomes = campaign.run(work, jobs)
    assert all(o.status is Status.DONE for o in outcomes.values())
    assert outcomes[jobs[1].key].attempts == 2 and len(list((tmp_path / "runs").iterdir())) == 9


def test_a_cluster_that_runs_already_is_used_and_left_running(tmp_path):
    from distributed import Client, LocalCluster

    work = works.Noise()
    options = {"n_workers": 1, "processes": False, "dashboard_address": "127.0.0.1:0", "protocol": "tcp://"}
    with LocalCluster(host="127.0.0.1", **options) as running:
        with Campaign(tmp_path, DaskExecutor(address=running.scheduler_address)) as campaign:
            assert len(campaign.run(work, works.jobs_of(work, 4))) == 4
        with Client(running, set_as_default=False) as client:
            assert client.submit(len, "alive").result(timeout=30) == 5


def test_what_cannot_be_used_is_refused(tmp_path, monkeypatch):
    with pytest.raises(ConfigurationError, match=r"executor\.workers"):
        DaskExecutor(0)
    with pytest.raises(ConfigurationError, match=r"executor\.cluster.*slurm"):
        DaskExecutor(cluster="condor")
    work = works.Noise()
    with pytest.raises(ConfigurationError, match=r"executor\.options.*with which dict starts"):
        DaskExecutor()._made(dict, {1: 2})
    with pytest.raises(ConfigurationError, match=r"executor\.address.*answers within 0\.5 s"):
        far = DaskExecutor(address="tcp://127.0.0.1:9", patience=0.5)
        Campaign(tmp_path, far).run(work, works.jobs_of(work, 1))
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigurationError, match=r"pip install mode-opt\[dask\]"):
        Campaign(tmp_path, DaskExecutor()).run(work, works.jobs_of(work, 1))


@pytest.mark.parametrize("system", ["slurm", "htcondor", "pbs", "lsf", "sge", "oar"])
def test_batch_systems_are_asked_for_workers(system, monkeypatch):
    """There is no batch system here: the class of dask-jobqueue is replaced by one that notes what it is asked."""
    jobqueue = pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    from mode_opt.campaigns.executors.dask import BATCH_SYSTEMS

    asked = {}

    class Noted:
        def __init__(self, **options):
            asked.update(options)

        def scale(self, jobs):
            asked["jobs"] = jobs

    assert issubclass(getattr(jobqueue, BATCH_SYSTEMS[system]), jobqueue.JobQueueCluster)
    monkeypatch.setattr(jobqueue, BATCH_SYSTEMS[system], Noted)
    executor = DaskExecutor(7, cluster=system, options={"cores": 1, "memory": "2GB"})
    executor._batch()
    assert asked == {"cores": 1, "memory": "2GB", "jobs": 7}
    assert executor.task_seconds == 30.0 and executor.ahead == 21


def test_a_batch_script_can_be_written_from_our_options(tmp_path):
    jobqueue = pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    quiet = {"scheduler_options": {"dashboard_address": ":0"}}
    with jobqueue.SLURMCluster(cores=1, memory="2GB", walltime="02:00:00", interface="lo", **quiet) as made:
        assert "#SBATCH -t 02:00:00" in made.job_script()


def test_the_same_optimisation_gives_the_same_numbers(tmp_path, cluster):
    """On processes of this machine and on a cluster of two workers, with the same seeds."""
    found = [_optimised(tmp_path / name, executor) for name, executor in (("p", Processes(2)), ("d", cluster))]
    assert torch.equal(found[0], found[1]) and found[0].shape == (4, 1, 2)
    assert not torch.equal(found[0][0], found[0][-1])


def _optimised(store, executor):
    """Design values after each of some steps."""
    simulator = ExternalSimulator(works.Noise(), 2, ("x",), events_per_job=16, campaign=Campaign(store, executor))
    design = Design({"centre": {"start": 2.0, "bounds": [-3.0, 3.0]}, "other": {"start": 0.5, "bounds": [-3.0, 3.0]}})
    pipeline = Pipeline(Counted(simulator), design, UniformInputs((-1.0,), (1.0,)), _squared)
    search = LocalRegression(sampling=Sampling(calls=256, events=32), window=2000, inducing=40)
    generator, path = torch.Generator().manual_seed(3), []
    search.prepare(pipeline, generator)
    for _ in range(4):
        path.append(design.psi.detach().clone())
        search.advance(pipeline, generator)
    return torch.stack(path)


def _squared(events, phi):
    """``b``, the mean square of the first hit."""
    return (events.weight * events.hits[:, :, 0, 0].square()).sum(1) / events.weight.sum(1)
