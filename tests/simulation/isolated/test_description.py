"""What names a function: its source, its arguments, its files; not where they lie."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from mode_opt.campaigns import Job, Store, work_of
from mode_opt.detectors.branching_toy import branching_toy
from mode_opt.errors import ConfigurationError
from mode_opt.simulation import PythonFunction
from mode_opt.simulation.isolated.process import release

HERE = Path(__file__).parent


def moved(folder, **options):
    """The same function, in another folder."""
    folder.mkdir(exist_ok=True)
    shutil.copy(HERE / "black_boxes.py", folder)
    return PythonFunction("black_boxes:bowl", path=folder, **options)


def test_the_digest_is_of_what_the_result_depends_on(tmp_path):
    data = tmp_path / "field.txt"
    data.write_text("1 tesla")
    first = moved(tmp_path / "a", files=[data])
    (tmp_path / "b").mkdir()
    same = moved(tmp_path / "b", files=[shutil.copy(data, tmp_path / "b")], time_limit=5.0, memory_limit="4 GB")
    assert first.digest == same.digest
    others = [
        moved(tmp_path / "a"),
        moved(tmp_path / "a", files=[data], arguments={"noise": 0.1}),
        moved(tmp_path / "a", files=[data], jobs_per_process=1),
        moved(tmp_path / "a", files=[data], version="2"),
    ]
    data.write_text("2 tesla")
    others.append(moved(tmp_path / "a", files=[data]))
    data.write_text("1 tesla")
    source = tmp_path / "a" / "black_boxes.py"
    source.write_text(source.read_text() + "\n# another version\n")
    others.append(PythonFunction("black_boxes:bowl", path=tmp_path / "a", files=[data]))
    assert len({work.digest for work in [first, *others]}) == 7


def test_from_its_description(tmp_path):
    work = moved(tmp_path / "a", arguments={"noise": 0.1}, time_limit=5.0, version="2")
    again = work_of("function", work.description())
    assert again.digest == work.digest and again.description() == work.description()
    (tmp_path / "a" / "black_boxes.py").write_text("def bowl(): ...\n")
    with pytest.raises(ConfigurationError, match=r"black_boxes\.py"):
        work_of("function", work.description())


def test_a_store_knows_the_latest_place_and_limits(tmp_path):
    store = Store(tmp_path / "store")
    for folder, limit in (("a", 5.0), ("b", 60.0)):
        work = moved(tmp_path / folder, time_limit=limit)
        store.register(work)
    shutil.rmtree(tmp_path / "a")
    again = store.work(work.digest)
    assert (again.digest, again.limit(), again.path) == (work.digest, 60.0, (str(tmp_path / "b"),))


def test_a_source_that_changed_is_not_run(tmp_path):
    work = moved(tmp_path / "a")
    source = tmp_path / "a" / "black_boxes.py"
    source.write_text(source.read_text() + "\n# another version\n")
    with pytest.raises(ConfigurationError, match=r"program.function.*black_boxes\.py"):
        work.run(Job(work.digest, {"x": 0.0, "y": 0.0}, 1, 1), tmp_path)
    release()


def test_a_function_is_known_by_its_name():
    work = PythonFunction(branching_toy)
    assert work.function == "mode_opt.detectors.branching_toy.detector:branching_toy"
    assert work.fingerprint[0][0] == "detector.py"


def test_packages_are_not_imported_to_find_a_module(tmp_path):
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "outer" / "__init__.py").write_text("raise RuntimeError('imported')")
    (inner / "simulation.py").write_text("def shower(): ...")
    work = PythonFunction("outer.inner.simulation:shower", path=str(tmp_path))
    assert work.fingerprint[0][0] == "simulation.py" and "outer" not in sys.modules


def local():
    def inner(): ...

    return inner


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda: None, "lambda"),
        (local(), "inside another function"),
        (np.ones(3), "with a name"),
        ("black_boxes", "package.module:name"),
        ("black_boxes:not a name", "package.module:name"),
        ("black_boxes; import os:bowl", "package.module:name"),
        ("no_such_module:bowl", "can be imported"),
        ("black_boxes:no_such_name", "a name in"),
        ("mode_opt.errors:NoSuchError", "a name in"),
    ],
)
def test_refused(function, words):
    with pytest.raises(ConfigurationError, match=words):
        PythonFunction(function, path=HERE)


def test_what_is_in_a_script_is_refused():
    def shower(): ...

    shower.__module__, shower.__qualname__ = "__main__", "shower"
    with pytest.raises(ConfigurationError, match="script or notebook"):
        PythonFunction(shower)


@pytest.mark.parametrize(
    "options",
    [
        {"arguments": {"field": object()}},
        {"arguments": {"field": float("nan")}},
        {"files": ["no_such_file"]},
        {"time_limit": 0.0},
        {"memory_limit": "2 parsecs"},
        {"jobs_per_process": 0},
    ],
)
def test_settings_refused(options):
    (name,) = options
    with pytest.raises(ConfigurationError, match=f"program.{name}"):
        PythonFunction("black_boxes:bowl", path=HERE, **options)


def test_source_that_is_no_python(tmp_path):
    (tmp_path / "broken.py").write_text("def shower(:")
    with pytest.raises(ConfigurationError, match=r"broken\.py"):
        PythonFunction("broken:shower", path=tmp_path)
