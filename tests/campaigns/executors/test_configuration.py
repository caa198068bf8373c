"""The configurations of executors that come with mode_opt."""

from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from mode_opt.campaigns import Executor
from mode_opt.campaigns.executors.dask import BATCH_SYSTEMS

FILES = sorted((Path(__file__).parents[3] / "conf" / "executor").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_configuration_makes_an_executor_that_starts_nothing(path, tmp_path):
    configuration = OmegaConf.load(path)
    for key in list(configuration.keys()):
        if OmegaConf.is_missing(configuration, key):
            configuration[key] = str(tmp_path / "given")
    executor = instantiate(configuration)
    assert isinstance(executor, Executor) and executor.capacity >= 1 and executor.task_seconds >= 0
    executor.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("system", ["slurm", "htcondor", "pbs", "lsf"])
def test_batch_systems_take_the_options(system):
    """dask-jobqueue writes its job script with them; there is no batch system here to hand it to."""
    jobqueue = pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    (path,) = [path for path in FILES if path.stem == f"dask_{system}"]
    options = OmegaConf.to_container(OmegaConf.load(path).options)
    with getattr(jobqueue, BATCH_SYSTEMS[system])(**options, scheduler_options={"dashboard_address": ":0"}) as made:
        script = made.job_script()
    assert "distributed.cli.dask_worker" in script and "--nthreads 1" in script
