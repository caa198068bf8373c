import math

import pytest
import torch
from scipy import stats

from mode_opt.simulation.choices import hashed, uniform

N = 200_000


def words(keys, counters):
    return hashed(torch.as_tensor(keys), torch.as_tensor(counters))


def test_the_numbers_are_those_of_the_published_generator():
    """SplitMix64 from seed 1234567: the values of the authors' Java class, as listed in many test suites."""
    expected = [6457827717110365317, 3203168211198807973, -8629252141511181193, 4593380528125082431]
    assert hashed(torch.tensor([1234567] * 4), torch.arange(4)).tolist() == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_interval_is_open_whatever_the_word(dtype):
    extreme = torch.tensor([0, -1, 2**63 - 1, -(2**63), 1], dtype=torch.int64)
    numbers = uniform(extreme, dtype)
    assert numbers.dtype == dtype and (numbers > 0).all() and (numbers < 1).all()
    assert torch.isfinite(torch.special.ndtri(numbers)).all()
    cells = 2.0 ** (23 if dtype == torch.float32 else 52)
    assert numbers[0] == 0.5 / cells and numbers[1] == 1 - 0.5 / cells


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "make",
    [
        lambda i: (torch.full_like(i, 3), i),
        lambda i: (i, torch.zeros_like(i)),
        lambda i: (torch.full_like(i, 3), -i),
        lambda i: (torch.full_like(i, 3), i + 2**62),
        lambda i: (-i, 7 * i),
    ],
    ids=["counters", "keys", "negative counters", "large counters", "both"],
)
def test_the_numbers_are_uniform(make, dtype):
    numbers = uniform(words(*make(torch.arange(N))), dtype).double().numpy()
    assert stats.kstest(numbers, "uniform").pvalue > 1e-3
    counts = torch.histc(torch.from_numpy(numbers), 1000, 0, 1).numpy()
    assert stats.chisquare(counts).pvalue > 1e-3
    # The last digits too: cells of a millionth of the interval.
    assert stats.kstest(numbers * 1e3 % 1, "uniform").pvalue > 1e-3


def test_every_bit_of_a_word_is_fair():
    found = words(5, torch.arange(N))
    ones = torch.stack([(found >> bit) & 1 for bit in range(64)]).double().mean(1)
    assert ((ones - 0.5).abs() < 4.5 * 0.5 / N**0.5).all()


@pytest.mark.parametrize("key", [1, 2, 2**20, 2**40, 2**62])
@pytest.mark.parametrize("counter", [0, 1, 16])
def test_neighbouring_keys_and_counters_are_not_correlated(key, counter):
    i = torch.arange(N)
    first = uniform(hashed(i, i % 17), torch.float64)
    second = uniform(hashed(i + key, i % 17 + counter), torch.float64)
    table = torch.histogramdd(torch.stack([first, second], 1), 10, range=[0, 1, 0, 1]).hist
    assert stats.chisquare(table.flatten().numpy()).pvalue > 1e-4
    assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1]) < 4.5 / math.sqrt(N)


def test_hashing_twice_gives_independent_streams():
    """Keys of children are hashes of keys of parents: the same counters of both must not agree."""
    parent = hashed(torch.arange(N), 0)
    first, second = (uniform(hashed(key, 4), torch.float64) for key in (parent, hashed(parent, 0)))
    assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1]) < 4.5 / math.sqrt(N)


def test_an_integer_and_a_tensor_are_the_same_counter():
    keys = torch.tensor([0, -5, 2**62])
    for counter in (0, 1, -1, -7, 10**9, 2**62, -(2**62), 2**63 - 2):
        assert torch.equal(hashed(keys, counter), hashed(keys, torch.tensor(counter)))


def test_order_and_batch_do_not_matter():
    keys, counters = torch.arange(1000), torch.arange(1000) * 3
    together = hashed(keys, counters)
    order = torch.randperm(1000, generator=torch.Generator().manual_seed(1))
    assert torch.equal(hashed(keys[order], counters[order]), together[order])
    assert int(hashed(keys[17], counters[17])) == int(together[17])
    assert torch.equal(hashed(keys[:, None], counters[None]).diagonal(), together)


def test_no_two_of_many_words_agree():
    found = hashed(torch.arange(1000)[:, None], torch.arange(500)[None])
    assert len(found.unique()) == found.numel()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_device_does_not_matter():
    keys, counters = torch.arange(N) * 12345, torch.arange(N) - 1000
    there = hashed(keys.cuda(), counters.cuda())
    assert torch.equal(there.cpu(), hashed(keys, counters))
    for dtype in (torch.float32, torch.float64):
        assert torch.equal(uniform(there, dtype).cpu(), uniform(hashed(keys, counters), dtype))
