"""Which files are meant."""

import pytest

from mode_opt.data.files import Location, locate
from mode_opt.errors import ConfigurationError, DataError


@pytest.fixture
def folder(tmp_path):
    for name in ("b.root", "a.root", "sub/c.root", "note.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_every_way_to_name_files(folder):
    a, b, c = (str(folder / name) for name in ("a.root", "b.root", "sub/c.root"))
    assert locate(a) == locate(folder / "a.root") == (Location(a),)
    assert locate(f"{a}:dir/events") == locate({a: "dir/events"}) == locate(a, tree="dir/events")
    assert locate(f"{folder}/*.root") == (Location(a), Location(b))
    assert locate(f"{folder}/**/*.root:t") == (Location(a, "t"), Location(b, "t"), Location(c, "t"))
    assert locate([b, f"{a}:own"], tree="t") == (Location(b, "t"), Location(a, "own"))
    assert locate("root://host:1094//eos/x.root:t") == (Location("root://host:1094//eos/x.root", "t"),)


def test_a_file_whose_name_looks_like_file_and_tree(folder):
    (folder / "odd.root:x").touch()
    assert locate(f"{folder}/odd.root:x") == (Location(f"{folder}/odd.root:x"),)


def test_what_is_not_there_is_named(folder):
    with pytest.raises(DataError, match=r"z\.root: no such file; ROOT files in .*: a\.root, b\.root"):
        locate(folder / "z.root")
    with pytest.raises(DataError, match=r"z\*\.root: no file matches"):
        locate(f"{folder}/z*.root")
    with pytest.raises(DataError, match="is a folder"):
        locate(folder)
    with pytest.raises(DataError, match="named twice"):
        locate([folder / "a.root", f"{folder}/*.root"])
    with pytest.raises(ConfigurationError, match="files: got"):
        locate(3)
    with pytest.raises(ConfigurationError, match="at least one"):
        locate([])
