"""The pages on campaigns and sites say what is there."""

import re
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from mode_opt.campaigns import Campaign, DaskExecutor, Failure
from mode_opt.cli import store
from mode_opt.cli.compose import built, composed

DOCS = Path(__file__).parents[1] / "docs"
PAGES = ["campaigns.md", "sites/slurm.md", "sites/htcondor.md"]


def test_every_failure_is_in_the_table():
    page = (DOCS / "campaigns.md").read_text()
    table = page[page.index("## What can go wrong") : page.index("## Executors")]
    assert all(kind.value in table for kind in Failure)


def test_every_executor_is_in_the_table_and_can_be_chosen(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (DOCS / "campaigns.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `") and line.count("|") == 4]
    named = {name for row in rows for name in re.findall(r"`([a-z_]+)`", row.split("|")[1])}
    files = {path.stem for path in (DOCS.parent / "conf" / "executor").glob("*.yaml")}
    assert files <= named
    for name in files:
        extra = ["executor.folder=drop"] if name == "file_drop" else []
        extra += ["executor.address=tcp://127.0.0.1:8786"] if name == "dask_address" else []
        assert isinstance(built(composed([f"executor={name}", *extra]).campaign), Campaign)


@pytest.mark.parametrize("page", PAGES)
def test_actions_and_options_of_the_store_exist(page):
    lines = re.findall(r"mode-opt store ([^\n\"`]+)", (DOCS / page).read_text())
    assert lines
    for line in lines:
        words = line.split("#")[0].split()
        if words and words[0] in store._ACTIONS:
            options = [word.split("=")[0] for word in words if "=" in word]
            assert set(options) <= set(store._ACTIONS[words[0]][1]), line


@pytest.mark.parametrize(("page", "kind"), [("sites/slurm.md", "slurm"), ("sites/htcondor.md", "htcondor")])
def test_the_settings_of_a_site_are_those_that_its_executor_takes(page, kind):
    (text,) = re.findall(r"```yaml\n(.*?)```", (DOCS / page).read_text(), re.S)
    given = yaml.safe_load(text)
    base = OmegaConf.load(DOCS.parent / "conf" / "executor" / f"dask_{kind}.yaml")
    executor = built(OmegaConf.merge(base, given["executor"]))
    assert isinstance(executor, DaskExecutor) and executor.cluster == kind
    jobqueue = pytest.importorskip(
        "dask_jobqueue", reason="dask-jobqueue is not installed (pip install mode-opt[dask])"
    )
    cluster = {"slurm": jobqueue.SLURMCluster, "htcondor": jobqueue.HTCondorCluster}[kind]
    script = cluster.job_cls(name="test", scheduler="tcp://127.0.0.1:8786", **_of_job(executor.options)).job_script()
    for directive in [*given["executor"]["options"].get("job_script_prologue", [])]:
        assert directive in script
    settings = composed(["executor=processes"]).campaign
    assert set(given["campaign"]["store"]) <= set(settings.store)
    assert set(given["campaign"].get("patience", {})) <= set(settings.patience)


def _of_job(options):
    """Without those of the cluster around the jobs."""
    return {name: value for name, value in options.items() if name != "interface"}
