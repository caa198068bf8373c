"""Tables in ROOT files, and what cannot be one."""

import numpy as np
import pytest
import uproot

from mode_opt.data import read_metadata, write_table
from mode_opt.errors import ConfigurationError, DataError, ShapeError


def test_numbers_come_back(tmp_path):
    path = tmp_path / "new" / "table.root"
    columns = {
        "x": np.array([1.0, np.nan]),
        "flag": np.array([1, 0], dtype=np.int32),
        "y": np.arange(6.0).reshape(2, 3),
    }
    write_table(path, columns, "front", {"unit": "mm"})
    with uproot.open(path) as file:
        found = file["front"].arrays(library="np")
        assert file["front"].classname == "TTree"
    for name, column in columns.items():
        np.testing.assert_array_equal(found[name], column)
    assert read_metadata(path) == {"unit": "mm"} and [p.name for p in path.parent.iterdir()] == ["table.root"]


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        ({"x/y": np.zeros(2)}, ConfigurationError),
        ({"x": np.zeros(2), "y": np.zeros(3)}, ShapeError),
        ({"x": np.zeros(0)}, ShapeError),
        ({}, ShapeError),
    ],
)
def test_what_is_no_table_is_refused_and_leaves_nothing(tmp_path, columns, error):
    with pytest.raises(error):
        write_table(tmp_path / "table.root", columns, "front")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"table\.root"):
        write_table(tmp_path / "file" / "table.root", {"x": np.zeros(1)}, "front")
