import pytest

from mode_opt.errors import DataError
from mode_opt.training import History


def rows(count, check=2):
    for k in range(1, count + 1):
        row = {"step": float(k), "objective": 0.1 / k, "x": float(k), "seconds": 1.5 * k}
        yield row | ({"validation": 0.2 / k, "validation_standard_error": 0.01} if k % check == 0 else {})


def test_rows_survive_and_those_after_the_checkpoint_are_dropped(tmp_path):
    path = tmp_path / "history.csv"
    history = History(path)
    for row in rows(5):
        history.append(row)
    again = History(path, keep=4)
    assert again.rows == list(rows(4))
    assert again.validations == [(0.1, 0.01), (0.05, 0.01)] and again.seconds == 6.0
    again.append(next(rows(1)) | {"step": 5.0})
    assert len(path.read_text().splitlines()) == 6 and len(History(path, keep=5).rows) == 5


def test_a_half_written_last_row_after_the_checkpoint_is_dropped(tmp_path):
    path = tmp_path / "history.csv"
    history = History(path)
    for row in rows(3):
        history.append(row)
    path.write_text(path.read_text()[:-7])
    assert len(History(path, keep=2).rows) == 2


def test_a_history_that_ends_before_the_checkpoint_is_refused(tmp_path):
    path = tmp_path / "history.csv"
    history = History(path)
    for row in rows(3):
        history.append(row)
    with pytest.raises(DataError, match="holds 3 of the 4 steps"):
        History(path, keep=4)
    path.write_text("garbage\n1,2\n")
    with pytest.raises(DataError, match=r"history\.csv: cannot be read"):
        History(path, keep=1)


def test_numbers_are_read_back_exactly(tmp_path):
    value = 0.1 + 0.2
    History(tmp_path / "h.csv").append({"step": 1.0, "objective": value, "seconds": 1 / 3})
    assert History(tmp_path / "h.csv", keep=1).rows[0] == {"step": 1.0, "objective": value, "seconds": 1 / 3}


def test_a_column_that_begins_later_gets_a_place_in_the_header(tmp_path):
    path = tmp_path / "history.csv"
    history = History(path)
    for k, row in enumerate(rows(4), 1):
        history.append(row | ({"radius": 0.5} if k == 3 else {}))
    lines = path.read_text().splitlines()
    assert lines[0].split(",") == ["step", *lines[0].split(",")[1:-1], "radius"] and len(lines) == 5
    assert [line.count(",") for line in lines] == [lines[0].count(",")] * 5
    assert [line.split(",")[-1] for line in lines[1:]] == ["", "", "0.5", ""]
    again = History(path, keep=4)
    assert again.rows == history.rows and "radius" not in again.rows[3]
    again.append({"step": 5.0, "objective": 1.0, "x": 0.0, "seconds": 7.5, "gain": 2.0})
    assert History(path, keep=5).rows[4]["gain"] == 2.0


def test_only_a_new_column_makes_the_file_be_written_anew(tmp_path, monkeypatch):
    history, written = History(tmp_path / "history.csv"), []
    rewrite = history._rewrite
    monkeypatch.setattr(history, "_rewrite", lambda: (written.append(len(history.rows)), rewrite()))
    for k, row in enumerate(rows(6), 1):
        history.append(row | ({"radius": 0.5} if k >= 5 else {}))
    assert written == [1, 5]
