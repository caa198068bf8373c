"""Reading and writing of tables."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mode_opt.errors import DataError
from mode_opt.report.table import Table, read_table


def table_file(path: Path, text: str) -> Path:
    file = path / "table.csv"
    file.write_text(text)
    return file


@settings(max_examples=30, deadline=None)
@given(values=st.lists(st.floats(allow_infinity=False) | st.just(float("nan")), min_size=1, max_size=20))
def test_what_is_written_is_read_back_exactly(values: list[float], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("table") / "t.csv"
    words = [f'word "{index}", two' for index in range(len(values))]
    Table.of_rows(("name", "value"), list(zip(words, values, strict=True))).write(path)
    back = read_table(path, ("name", "value"), words=("name",))
    assert back.words("name") == words
    np.testing.assert_array_equal(back.floats("value"), np.array(values))


def test_selecting_rows() -> None:
    table = Table.of_rows(("name", "x"), [("a", 1.0), ("b", 2.0), ("a", 3.0)])
    assert table.unique("name") == ["a", "b"]
    assert table.where("name", "a").floats("x").tolist() == [1.0, 3.0]
    assert np.isnan(table.floats("not there")).all() and len(table) == 3


def test_no_rows_and_empty_cells(tmp_path: Path) -> None:
    assert len(read_table(table_file(tmp_path, "step,x\n"), ("step",))) == 0
    assert np.isnan(read_table(table_file(tmp_path, "step,x\n0,\n1,nan\n"), ("step",)).floats("x")).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"table\.csv: the file is empty, expected a header with step, objective"),
        ("step,x\n1,2\n", r"table\.csv: missing column objective; the header has step, x"),
        ("step,objective,x,x\n", "column x is there twice"),
        ("step,objective\n1,2\n2\n", r"line 3 has 1 of 2 cells; the file is truncated"),
        ("step,objective\n1,2\n2,abc\n", r"line 3, column objective: got 'abc', expected a number"),
        ("step,objective\n1,\0\n", "zero bytes"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_table(table_file(tmp_path, text), ("step", "objective"))


def test_missing_and_binary_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.csv: the file is missing"):
        read_table(tmp_path / "nothing.csv", ("step",))
    (tmp_path / "t.csv").write_bytes(b"step\n\xff\xfe\n")
    with pytest.raises(DataError, match="byte 5 is not UTF-8"):
        read_table(tmp_path / "t.csv", ("step",))


@pytest.mark.parametrize("ending", ["3,0.", "3", "3,"])
def test_a_stopped_writer_loses_its_last_line_only(ending: str, tmp_path: Path) -> None:
    file = table_file(tmp_path, "step,objective\n1,0.5\n2,0.25\n" + ending)
    assert read_table(file, ("step",), partial=True).floats("step").tolist() == [1.0, 2.0]
