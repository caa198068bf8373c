"""Jagged columns, padded and back."""

import awkward as ak
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mode_opt.data.ragged import Ragged, column_of
from mode_opt.errors import DataError, ShapeError

lists = st.lists(st.lists(st.integers(-9, 9), max_size=5), max_size=8)


def ragged(rows, dtype=torch.float32):
    counts = torch.tensor([len(row) for row in rows], dtype=torch.int64)
    values = torch.tensor([value for row in rows for value in row], dtype=dtype)
    return Ragged(values, torch.nn.functional.pad(counts.cumsum(0), (1, 0)))


def as_lists(column):
    return [column.values[a:b].tolist() for a, b in zip(column.offsets, column.offsets[1:], strict=False)]


@given(rows=lists, hits=st.none() | st.integers(1, 7), dtype=st.sampled_from([torch.float32, torch.int64]))
def test_padding(rows, hits, dtype):
    padded, mask = ragged(rows, dtype).pad(hits)
    width = max(map(len, rows), default=0) if hits is None else hits
    assert padded.shape == mask.shape == (len(rows), width)
    assert padded.dtype == dtype
    for row, values, real in zip(rows, padded, mask, strict=True):
        kept = row[:width]
        assert values.tolist() == kept + [0] * (width - len(kept))
        assert real.tolist() == [True] * len(kept) + [False] * (width - len(kept))


@given(rows=lists.filter(len), data=st.data())
def test_rows_and_cat_are_inverse(rows, data):
    border = data.draw(st.integers(0, len(rows)))
    whole = ragged(rows)
    parts = [whole.rows(0, border), whole.rows(border, len(rows))]
    assert as_lists(parts[1]) == rows[border:]
    assert as_lists(Ragged.cat(parts)) == rows


def test_padding_keeps_inner_axes():
    padded, mask = Ragged(torch.arange(6.0).reshape(3, 2), torch.tensor([0, 1, 1, 3])).pad()
    assert padded.tolist() == [[[0, 1], [0, 0]], [[0, 0], [0, 0]], [[2, 3], [4, 5]]]
    assert mask.tolist() == [[True, False], [False, False], [True, True]]


def test_stack_wants_the_same_hits():
    energy, charge = ragged([[1, 2], [3]]), ragged([[1, -1], [1]], torch.int32)
    stacked = Ragged.stack([energy, charge], ["energy", "charge"])
    assert stacked.values.tolist() == [[1, 1], [2, -1], [3, 1]]
    with pytest.raises(ShapeError, match=r"jet: .*as many hits per event as 'energy'.*row 0"):
        Ragged.stack([energy, ragged([[1], [2, 3]])], ["energy", "jet"])


def test_a_slice_does_not_keep_its_parent():
    whole = ak.unflatten(np.arange(6000, dtype=np.float32), 3)
    jagged = ak.from_regular(whole)
    column = column_of(jagged[1000:1010], "x")
    assert column.values.untyped_storage().nbytes() == 30 * 4
    assert column.values.tolist() == list(range(3000, 3030))
    assert int(column.offsets[0]) == 0


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (np.arange(3, dtype=">f4"), torch.float32),
        (np.arange(3, dtype=np.uint32), torch.int64),
        (np.arange(3, dtype=np.uint16), torch.int32),
        (np.array([True, False]), torch.bool),
        (ak.Array([[], [], []]), torch.float32),
        (ak.values_astype(ak.Array([[1], [], [2, 3]]), np.uint64), torch.int64),
    ],
)
def test_types_of_files_become_types_of_torch(array, dtype):
    column = column_of(array, "x")
    assert (column.values if isinstance(column, Ragged) else column).dtype == dtype
    assert len(column) == len(array)


@pytest.mark.parametrize(
    "array",
    [
        ak.Array(["a", "bc"]),
        ak.Array([["a"], []]),
        ak.Array([1.0, None]),
        ak.Array([[1.0, None], []]),
        ak.Array([[[1.0], []], []]),
        ak.Array([[{"x": 1}], []]),
        np.array([object()]),
    ],
)
def test_what_is_not_numbers_is_refused(array):
    with pytest.raises(DataError, match=r"^file: branch (is of type|holds)"):
        column_of(array, "file: branch")
