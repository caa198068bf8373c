"""Statistical statements with a stated significance."""

import torch


def pull(samples: torch.Tensor, expected: float | torch.Tensor) -> torch.Tensor:
    """Distance of the mean over the first axis from ``expected``, in standard errors of the mean."""
    samples = samples.double()
    error = samples.std(0) / len(samples) ** 0.5
    return (samples.mean(0) - expected) / error


def assert_mean(samples: torch.Tensor, expected: float | torch.Tensor, sigmas: float = 4.0) -> None:
    """The mean of independent samples agrees with ``expected`` within ``sigmas`` standard errors."""
    found = pull(samples, expected)
    assert bool((found.abs() < sigmas).all()), f"pull {found.tolist()} beyond {sigmas} sigma"
