"""Reproducible streams of random numbers, one for each purpose and step."""

import zlib

import numpy as np
import torch


def stream(device: torch.device | str, seed: int, *labels: str | int) -> torch.Generator:
    """A generator whose numbers depend on the seed and the labels alone.

    Because step k draws from ``stream(device, seed, "design", k)``, a resumed run needs no saved generator state
    and draws the numbers that the uninterrupted run would have drawn.

    Args:
        device: where the numbers are drawn.
        seed: of the run, a non-negative integer.
        labels: purpose and counters.
    """
    entropy = [zlib.crc32(label.encode()) if isinstance(label, str) else int(label) for label in labels]
    # The number of labels comes first: trailing zeros alone would not change the state.
    state = np.random.SeedSequence([len(entropy), int(seed), *entropy]).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(state >> np.uint64(1)))
