"""Random numbers as functions of a key and a counter: no state, no order, the same on every device."""

import torch
from torch import Tensor

_MULTIPLIERS = (-4658895280553007687, -7723592293110705685)  # 0xBF58476D1CE4E5B9 and 0x94D049BB133111EB, signed
_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15, signed


def _shifted(word: Tensor, bits: int) -> Tensor:
    """Logical right shift: torch shifts int64 arithmetically, so the copies of the sign are masked away."""
    return (word >> bits) & ((1 << (64 - bits)) - 1)


def _wrapped(number: int) -> int:
    return (number + 2**63) % 2**64 - 2**63


def hashed(key: Tensor, counter: Tensor | int) -> Tensor:
    """The ``counter``-th word of the stream ``key`` (SplitMix64, which jumps to any place of its sequence).

    Args:
        key: int64, any shape.
        counter: int64, broadcastable against the key.

    Returns:
        int64 of the joint shape, uniform over all words.

    Source: G. L. Steele, D. Lea and C. H. Flood, OOPSLA 2014, doi:10.1145/2660193.2660195 (finaliser: variant 13).
    """
    # Tensors wrap around at 64 bits; a plain integer has to be wrapped by hand.
    offset = _wrapped((counter + 1) * _GOLDEN) if isinstance(counter, int) else (counter + 1) * _GOLDEN
    word = key + offset
    word = (word ^ _shifted(word, 30)) * _MULTIPLIERS[0]
    word = (word ^ _shifted(word, 27)) * _MULTIPLIERS[1]
    return word ^ _shifted(word, 31)


def uniform(word: Tensor, dtype: torch.dtype) -> Tensor:
    """Words to numbers in the open interval (0, 1): the middle of one of 2²³ (float32) or 2⁵² (float64) cells."""
    bits = 52 if dtype == torch.float64 else 23
    return (_shifted(word, 64 - bits).to(dtype) + 0.5) * 2.0**-bits
