"""A program and its description."""

import json
import pickle
import shutil
import subprocess

import numpy as np
import pytest
import torch

from mode_opt.campaigns import Campaign, Failure, Job, JobFailure, Serial, Store, Work, work_of
from mode_opt.design import Design
from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.simulation import ExternalProgram, ExternalSimulator
from mode_opt.simulation.programs.files import Files

CSV = {"file": "out.csv", "hits": {"deposit": "e"}}
ALL = {
    "prefix": ["env"],
    "files": ["data.txt"],
    "inputs": {"run.mac": "run.mac.jinja", "sub/cards.ini": {"text": "gap = {{ gap }}\n"}},
    "environment": {"GAP": "{{ gap | to('cm') }}"},
    "primaries": {"file": "p.csv", "columns": {"E": "energy"}, "units": {"E": "GeV"}},
    "time_limit": 60,
    "success": [0, 1],
    "version": "1.2",
    "dimensions": {"gap": "mm"},
}


@pytest.fixture
def full(runner):
    (runner.folder / "data.txt").write_text("1")
    (runner.folder / "run.mac.jinja").write_text("/gap {{ gap }}\n{% for g in gaps %}/layer {{ g }}\n{% endfor %}")
    return runner


def test_all_ways_in(full):
    text = """
macro, cards = open("run.mac").read(), open("sub/cards.ini").read()
energies = open("p.csv").read().split()
open("out.csv", "w").write("e\\n" + "\\n".join(energies[1:]) + "\\n")
print(json.dumps([macro, cards, os.environ["GAP"], energies[0], sys.argv[1:]]))
"""
    job = full.job({"gap": 2.5, "gaps": [1.0, 0.1]}, primaries={"energy": np.array([1e3, 2e3, 3.3e3])})
    arguments = ["{{ events }}", "{{ seed }}", "{{ output }}", "{{ primaries }}", "{{ folder }}", "{{ run_folder }}"]
    arrays = full.run(text, job, arguments=arguments, **ALL)
    np.testing.assert_array_equal(arrays["hits"][:, 0, 0], np.float32([1, 2, 3.3]))
    macro, cards, gap, header, told = json.loads(full.file("log.txt").read_text())
    assert macro == "/gap 2.5\n/layer 1.0\n/layer 0.1\n"
    assert (cards, gap, header) == ("gap = 2.5\n", "0.25", "E")
    here = full.run_folder
    assert told == ["3", "7", str(here / "out.csv"), str(here / "p.csv"), str(full.folder), str(here)]


def test_standard_output(runner):
    output = {"pattern": r"^E (\S+)$", "hits": {"deposit": "1"}}
    arrays = runner.run('print("E 1\\nE 2\\nE 3")\nprint("E 4", file=sys.stderr)', output=output)
    assert arrays["hits"].ravel().tolist() == [1, 2, 3]
    assert runner.file("log.txt").read_text() == "E 4\n"


def test_a_description_gives_the_work_back(full):
    work = full.work(**ALL, memory_limit=None)
    described = json.loads(json.dumps(work.description()))
    again = work_of("program", described)
    assert again.description() == work.description()
    assert again.digest == work.digest == pickle.loads(pickle.dumps(work)).digest
    assert again.limit() == 60 and not again.uniform_primaries
    with pytest.raises(ConfigurationError, match="keys of an external program"):
        ExternalProgram.of(described | {"shell": True})


def test_what_the_digest_depends_on(full, tmp_path):
    work = full.work(**ALL)
    moved = tmp_path / "moved"
    shutil.copytree(full.folder, moved)
    local = {"folder": moved, "time_limit": 5, "memory_limit": "8 GB", "dimensions": {}}
    command = work.description()["command"]
    for name, value in local.items():
        other = ExternalProgram(command, **{"output": CSV, "folder": full.folder} | ALL | {name: value})
        assert other.digest == work.digest, name
    for name, value in {"version": "1.3", "success": [0], "environment": {}, "files": [], "prefix": []}.items():
        assert full.work(**ALL | {name: value}).digest != work.digest, name
    assert full.work(arguments=["x"], **ALL).digest != work.digest


@pytest.mark.parametrize("name", ["data.txt", "run.mac.jinja", "main.py"])
def test_another_content_is_another_simulator(full, name):
    work = full.work(**ALL)
    assert set(work.description()["fingerprint"]) == {"data.txt", "run.mac.jinja", "main.py"}
    (full.folder / name).write_text("# other")
    command, described = work.description()["command"], work.description()
    assert ExternalProgram(command, CSV, full.folder, **ALL).digest != work.digest
    with pytest.raises(ConfigurationError, match=rf"fingerprint: got '{name}"):
        ExternalProgram.of(described)
    with pytest.raises(ConfigurationError, match="stays as it is"):
        work.run(full.job({"gap": 1.0, "gaps": []}), full.run_folder)


def test_a_file_that_was_only_touched_is_the_same(tmp_path):
    (tmp_path / "a").write_text("1")
    files = Files(tmp_path, ["a"])
    (tmp_path / "b").write_text("1")
    (tmp_path / "b").replace(tmp_path / "a")
    files.unchanged()
    (tmp_path / "a").unlink()
    with pytest.raises(ConfigurationError, match="can be read"):
        files.unchanged()


def test_the_program_is_found_in_its_folder_first(runner):
    script = runner.folder / "bin" / "shower"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\nprintf 'e\\n%s\\n' \"$1\" > out.csv\n")
    script.chmod(0o755)
    for name in ("bin/shower", "./bin/shower", "{{ folder }}/bin/shower"):
        work = ExternalProgram([name, 5], CSV, runner.folder)
        assert set(work.description()["fingerprint"]) == {"bin/shower"}
        assert work.run(runner.job(events=1), runner.run_folder)["hits"].item() == 5


def test_the_command_can_be_run_by_hand(runner):
    text = 'open(sys.argv[1], "w").write("e\\n" + 3 * f"{sys.argv[2]}\\n")'
    work = runner.work(text, arguments=["{{ output }}", "{{ gap }}", "a b;$(x)"], environment={"A": "b c"})
    command = work.command(runner.job({"gap": 0.1}))
    subprocess.run(["/bin/sh", "-c", command], cwd=runner.run_folder, check=True)
    assert runner.file("out.csv").read_text() == "e\n0.1\n0.1\n0.1\n"


# Nothing of a design but numbers and names reaches a program


@pytest.mark.parametrize("text", ["lead tungstate", "a;b", "{{ seed }}", "a\nb", "a\n", "", "../x", "$(id)", "é", "-'"])
def test_option_names_that_are_no_names(runner, text):
    with pytest.raises(ConfigurationError, match=r"design\.material.*name of letters"):
        runner.told("{{ material }}", job=runner.job({"material": text}))
    with pytest.raises(ConfigurationError, match=r"design\.material"):
        runner.told("x", job=runner.job({"material": ["fine", text]}))
    assert not runner.file("told.json").exists()


def test_arguments_are_single_whatever_is_in_them(runner):
    odd = ["a b", "$HOME", "`id`", "; touch x", "*", "'\"\\", "{{ material }}-{{ gap }}", "--x={{ gaps }}", "é\n"]
    told = runner.told(*odd, job=runner.job({"material": "PbWO4_2.0+-", "gap": 1e-7, "gaps": [1.0, 2.0]}))
    assert told == [*odd[:6], "PbWO4_2.0+--1.0e-07", "--x=[1.0, 2.0]", "é\n"]
    assert not runner.file("x").exists()


@pytest.mark.parametrize("taken", ["seed", "output", "folder", "primary"])
def test_names_that_are_taken(runner, taken):
    with pytest.raises(ConfigurationError, match=f"design: got '{taken}'"):
        runner.told("x", job=runner.job({taken: 1.0}))


def test_unknown_placeholders_are_no_failure_of_a_job(runner, tmp_path):
    work = runner.work(arguments=["{{ gpa }}"])
    job = Job(work.digest, {"gap": 1.0}, 3, 1)
    with pytest.raises(ConfigurationError, match=r"program\.command\[4\]: got 'gpa'.*gap"):
        Campaign(Store(tmp_path / "store"), Serial()).run(work, [job])
    assert not list((tmp_path / "store" / "quarantine").iterdir())
    assert not list((tmp_path / "store" / "running").glob(f"{job.key}*"))
    with pytest.raises(ConfigurationError, match=r"program\.inputs\.a: got 'primaries'"):
        runner.run(job=runner.job(), inputs={"a": {"text": "{{ primaries }}"}})


def test_errors_can_be_sent_from_another_process():
    error = ConfigurationError("a.b", 3, "another")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


# Primaries


@pytest.mark.parametrize("suffix", ["csv", "npy", "npz", "json"])
def test_files_of_primaries(runner, suffix):
    energy, x = np.array([1e-7, 2.5, 0.1 + 0.2]), np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    primaries = {"file": f"p.{suffix}", "columns": {"E": "energy", "X": "x"}, "units": {"X": "cm"}}
    text = 'open("out.csv", "w").write("e\\n1\\n1\\n1\\n")'
    runner.run(text, runner.job(primaries={"x": x, "energy": energy}), primaries=primaries)
    path = runner.file(f"p.{suffix}")
    if suffix == "csv":
        assert path.read_text().splitlines()[0] == "E,X_0,X_1"
        np.testing.assert_array_equal(np.loadtxt(path, delimiter=",", skiprows=1), np.column_stack([energy, x / 10]))
    elif suffix == "npy":
        np.testing.assert_array_equal(np.load(path), np.column_stack([energy, x / 10]))
    else:
        found = np.load(path) if suffix == "npz" else json.loads(path.read_text())
        np.testing.assert_array_equal(found["E"], energy)
        np.testing.assert_array_equal(found["X"], x / 10)


def test_primaries_in_a_template(runner):
    inputs = {"run.mac": {"text": "{% for e in primary.energy %}{{ e | to('GeV') }} {% endfor %}"}}
    job = runner.job(primaries={"energy": np.array([1e3, 2e3, 4e3])})
    text = 'open("out.csv", "w").write("e\\n" + open("run.mac").read().replace(" ", "\\n"))'
    assert runner.run(text, job, inputs=inputs)["hits"].ravel().tolist() == [1, 2, 4]


def test_uniform_primaries(runner):
    fields = {"primaries": {"uniform": True}, "dimensions": {"energy": "MeV"}}
    job = runner.job(primaries={"energy": np.full(3, 1500.0)})
    assert runner.work(**fields).uniform_primaries
    assert runner.told("{{ energy | to('GeV') }}", job=job, **fields) == ["1.5"]
    with pytest.raises(ConfigurationError, match="does not fit"):
        runner.told("{{ energy | to('mm') }}", job=job, **fields)
    with pytest.raises(ConfigurationError, match="same single value"):
        runner.told("{{ energy }}", job=runner.job(primaries={"energy": np.arange(3.0)}), **fields)


@pytest.mark.parametrize(
    "primaries",
    [
        {"file": "p.txt"},
        {"file": "../p.csv"},
        {"file": "p.csv", "columns": "energy"},
        {"file": "p.csv", "units": {"E": "moon"}},
        {"file": "p.csv", "shell": 1},
        {"uniform": 3},
        "p.csv",
    ],
)
def test_primaries_that_cannot_be(runner, primaries):
    with pytest.raises(ConfigurationError, match=r"program\.primaries"):
        runner.work(primaries=primaries)


@pytest.mark.parametrize("fields", [{"columns": ["charge"]}, {"units": {"E": "GeV"}}])
def test_primaries_that_the_job_has_not(runner, fields):
    work = runner.work(primaries={"file": "p.csv"} | fields)
    with pytest.raises(ConfigurationError, match=r"program\.primaries"):
        work.run(runner.job(primaries={"energy": np.ones(3)}), runner.run_folder)


# Descriptions


@pytest.mark.parametrize(
    "fields",
    [
        {"folder": "/nowhere"},
        {"prefix": "apptainer exec"},
        {"files": "data.txt"},
        {"files": ["none.txt"]},
        {"files": ["../x"]},
        {"inputs": {"a": "none.jinja"}},
        {"inputs": {"/tmp/a": {"text": "x"}}},
        {"inputs": {"../a": {"text": "x"}}},
        {"inputs": {"log.txt": {"text": "x"}}},
        {"inputs": {"out.csv": {"text": "x"}}},
        {"inputs": {"a": {"text": 3}}},
        {"inputs": {"a": {"text": "{{"}}},
        {"environment": {"A": ["x"]}},
        {"dimensions": {"gap": "moon"}},
        {"dimensions": ["gap"]},
        {"inputs": ["a"]},
        {"environment": "A=1"},
        {"arguments": [None]},
    ],
)
def test_what_a_program_cannot_be(runner, fields):
    with pytest.raises(ConfigurationError, match="program"):
        runner.work(**fields)


@pytest.mark.parametrize("command", ["shower --gap 3", [], [["a"]]])
def test_commands_that_are_no_lists(command):
    with pytest.raises(ConfigurationError, match=r"program\.command"):
        ExternalProgram(command, CSV)


# In a campaign


def test_a_simulator(runner, tmp_path):
    text = """
gap, seed, rows = float(sys.argv[1]), int(sys.argv[2]), open("p.csv").read().split()[1:]
open("out.csv", "w").write("e,n\\n" + "".join(f"{float(e) * gap},{seed % 7}\\n" for e in rows))
"""
    output = {"file": "out.csv", "hits": {"deposit": "e", "number": "n"}}
    work = runner.work(text, ["{{ gap | to('cm') }}", "{{ seed }}"], output=output, primaries={"file": "p.csv"})
    design = Design({"gap": {"start": 2, "bounds": [1, 3], "unit": "cm"}})
    energy = torch.tensor([1.0, 2.0, 3.0])
    primaries = Events.of(energy[None, :, None], energy[None, :, None, None])
    simulator = ExternalSimulator(work, 1, events_per_job=2, campaign=Campaign(Store(tmp_path / "store"), Serial()))
    events = simulator(design(), primaries, torch.Generator().manual_seed(1))
    assert events.hits[0, :, 0, 0].tolist() == pytest.approx([2, 4, 6])


def test_a_failed_run_is_kept_with_its_command(runner, tmp_path):
    work = runner.work('print("no field")\nsys.exit(2)')
    job = Job(work.digest, {}, 3, 1)
    outcome = Campaign(Store(tmp_path / "store"), Serial()).run(work, [job])[job.key]
    assert outcome.failure is Failure.EXIT
    kept = tmp_path / "store" / "quarantine" / job.key
    assert kept.joinpath("log.txt").read_text() == "no field\n"
    assert kept.joinpath("command.txt").read_text().endswith("main.py\n")
    with pytest.raises(JobFailure):
        work.run(job, runner.run_folder)


def test_every_work_has_a_name_of_its_own():
    assert ExternalProgram.kind == "program"
    assert issubclass(ExternalProgram, Work)
