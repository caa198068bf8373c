"""The weights of a small network as a design."""

from functools import cache
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from mode_opt.design import Design, DesignPoint
from mode_opt.errors import ConfigurationError, DataError
from mode_opt.events import Events
from mode_opt.experiment import Detector
from mode_opt.reconstruction import PriorBelief
from mode_opt.simulation import BlackBoxSimulator, Recorded

from .landscapes import random_state
from .objectives import SquaredError
from .problem import Problem

DATA = Path(__file__).parent / "data" / "diabetes.csv"
BEST = Path(__file__).parent / "data" / "best_weights.csv"

HIDDEN = 6
NOISE = 0.1
"""Standard deviation of the response, in standard deviations of the target."""


@cache
def table() -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Inputs ``442 x 10`` and targets ``442``, each column with mean 0 and standard deviation 1, and the names of all.

    Raises:
        DataError: if the file is missing or broken.
    """
    try:
        names = tuple(DATA.read_text().splitlines()[0].split(","))
        rows = np.loadtxt(DATA, delimiter=",", skiprows=1)
    except (OSError, ValueError, IndexError) as error:
        raise DataError(str(DATA), f"a table of numbers under a line of names ({error})") from error
    scaled = torch.from_numpy((rows - rows.mean(0)) / rows.std(0)).float()
    return scaled[:, :-1].contiguous(), scaled[:, -1].contiguous(), names


def size(inputs: int, hidden: int = HIDDEN) -> int:
    """Number of weights: of the hidden units, their biases, the output, its bias."""
    return (inputs + 2) * hidden + 1


def start_weights(inputs: int, scale: float, seed: int) -> list[float]:
    """±scale with random signs, and 0 (the mean of the target) for the bias of the output.

    Alike in size, because a design parameter without bounds moves in units of its start value.
    """
    drawn = scale * np.sign(random_state(seed).randn(size(inputs)))
    drawn[-1] = 0.0
    return [float(weight) for weight in drawn]


def output(weights: Tensor, x: Tensor, hidden: int = HIDDEN) -> Tensor:
    """``v · tanh(W x + c) + v₀``: ``b x n`` of weights ``b x ((k + 2) hidden + 1)`` and inputs ``b x n x k``."""
    k = x.shape[-1]
    parts = weights.split([k * hidden, hidden, hidden, 1], 1)
    inner = x @ parts[0].reshape(-1, hidden, k).transpose(1, 2) + parts[1][:, None]
    return (torch.tanh(inner) @ parts[2][:, :, None]).squeeze(2) + parts[3]


@final
class NoisyNetwork(BlackBoxSimulator):
    """``y ~ N(v · tanh(W x + c) + v₀, noise)``: a network of one hidden layer whose weights are the design.

    x is the known input (the features of the primaries' only hit); the target is in the truth, which is not read. Hits
    ``b x n x 1 x 1`` are y.

    Args:
        noise: standard deviation of y.

    Raises:
        ConfigurationError: for a noise that is negative.
    """

    def __init__(self, noise: float = NOISE) -> None:
        super().__init__()
        if not noise >= 0:
            raise ConfigurationError("simulator.noise", noise, "a number, 0 or more")
        self.noise = noise

    def simulate(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None) -> Events:
        events = primaries.expand(phi.designs)
        mean = output(phi["weights"], events.hits[:, :, 0])
        normal = torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=mean.device)
        return Events.of(events.truth, (mean + self.noise * normal)[..., None, None], weight=events.weight)


def exact(phi: DesignPoint) -> Tensor:
    """Mean of ``(output − target)² + noise²`` over the table."""
    return _residuals(phi).square().mean(1) + NOISE**2


def _residuals(phi: DesignPoint) -> Tensor:
    x, target, _ = table()
    weights = phi["weights"]
    return output(weights, x.to(weights)[None]) - target.to(weights)


def _variance(phi: DesignPoint) -> Tensor:
    """Of ``(r + s ε)²`` over rows and noise: from ``E = r⁴ + 6 r² s² + 3 s⁴`` of its square."""
    square = _residuals(phi) ** 2
    return (square**2 + 6 * square * NOISE**2 + 3 * NOISE**4).mean(1) - exact(phi) ** 2


def network_problem(name: str, description: str, design: dict[str, Any], start: dict[str, Any]) -> Problem:
    """Minimise the mean squared error of the response, in variances of the target; ``start`` is ``{scale, seed}``."""
    x, target, names = table()
    parameters = {"weights": {"start": start_weights(x.shape[1], **start), **design["parameters"]["weights"]}}
    truth = torch.cat([x, target[:, None]], 1)[None]
    detector = Detector(
        name=name,
        design=Design(**{**design, "parameters": parameters}),
        simulators={"black_box": NoisyNetwork()},
        primaries=Recorded(Events.of(truth, x[None, :, None]), names, ["" for _ in names]),
        reconstruction=PriorBelief.fitting,
        objective=SquaredError(target=x.shape[1]),
        hit_names=("y",),
        description=description,
        files=[DATA],
    )
    best = torch.from_numpy(np.loadtxt(BEST))
    layout = detector.design.layout
    optimum = float(exact(DesignPoint(best[None], layout)))
    return Problem.of(detector, exact, _variance, optimum, [best], proven=False)
