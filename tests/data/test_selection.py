"""Splits by range and by hash, and repeated entries."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mode_opt.data.expressions import Expression
from mode_opt.data.selection import Selection, first_of_each, key_bits, unit_hash

KEY = (Expression("run"),)


@given(entries=st.integers(0, 1000), of=st.integers(1, 9), start=st.integers(0, 50))
def test_shares_cover_the_range_once(entries, of, start):
    whole = Selection(start=start, stop=start + entries)
    shares = [whole.share(index, of, 10_000).bounds(10_000) for index in range(of)]
    assert shares[0][0] == start
    assert shares[-1][1] == start + entries
    assert all(left[1] == right[0] for left, right in pairwise(shares))
    sizes = [stop - first for first, stop in shares]
    assert max(sizes) - min(sizes) <= 1


@given(entries=st.integers(10, 1000), test=st.floats(0.05, 0.95))
def test_split_by_range(entries, test):
    train, held_out = (side.bounds(entries) for side in Selection().divide(test, entries))
    assert train[0] == 0
    assert train[1] == held_out[0]
    assert held_out[1] == entries
    assert held_out[1] - held_out[0] == round(entries * test)


def test_hash_is_splitmix64():
    # Outputs of SplitMix64: the first for seed 0 is known; the second hash step starts from it and key 0.
    first = 0xE220A8397B1DCDAF
    assert unit_hash([np.zeros(0)], salt=0).shape == (0,)
    state = np.uint64(first)
    assert unit_hash([np.array([state.view(np.int64)])], salt=0)[0] == (first >> 11) * 2.0**-53


def test_hash_is_uniform_and_splits_are_independent():
    keys = [np.repeat(np.arange(200), 100), np.tile(np.arange(100), 200)]
    first, second = unit_hash(keys, 0), unit_hash(keys, 1)
    # 20000 rows in 20 bins: chi2 of 19 degrees of freedom, 4 sigma is 4 sqrt(38); correlation: 1/sqrt(20000).
    chi2 = ((np.histogram(first, 20, (0, 1))[0] - 1000) ** 2 / 1000).sum()
    assert chi2 < 19 + 4 * np.sqrt(38)
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(20000)


def test_equal_numbers_are_equal_keys_whatever_their_type():
    values = [0, 1, -3, 2**31 - 1]
    expected = key_bits(np.array(values, np.int64))
    for dtype in (np.int32, np.float64):
        np.testing.assert_array_equal(key_bits(np.array(values, dtype)), expected)
    assert key_bits(np.array([-0.0]))[0] == key_bits(np.array([False]))[0]
    assert key_bits(np.array([0.5], np.float32))[0] == key_bits(np.array([0.5]))[0]
    assert len(set(key_bits(np.array([0.5, 1.0, 1.5, -1.5])))) == 4


def test_a_split_of_a_split_is_another_split():
    rows = [np.arange(10_000)]
    train, _ = Selection().divide_by(KEY, 0.2, seed=0)
    inner, validation = train.divide_by(KEY, 0.2, seed=0)

    def size(selection):
        return np.logical_and.reduce([side.keeps(rows) for side in selection.sides]).sum()

    # Binomial: 10000 x 0.64 and 0.16, 4 sigma.
    assert abs(size(inner) - 6400) < 4 * np.sqrt(10_000 * 0.64 * 0.36)
    assert abs(size(validation) - 1600) < 4 * np.sqrt(10_000 * 0.16 * 0.84)


@given(rows=st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0.0, 0.5, 1.0])), min_size=1, max_size=30))
def test_first_of_each(rows):
    keys = [np.array([row[0] for row in rows]), np.array([row[1] for row in rows])]
    expected = [index for index, row in enumerate(rows) if row not in rows[:index]]
    assert first_of_each(keys).tolist() == expected
