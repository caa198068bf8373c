"""A category, an integer and a number, through a simulator that takes nothing but designs that can be built."""

from typing import Any

import pytest
import torch

from mode_opt.design import Design, DesignPoint
from mode_opt.detectors.benchmarks import MeanResponse, UniformInputs
from mode_opt.events import Events
from mode_opt.experiment import Alternation, Effort, Experiment, VerificationEffort, optimise
from mode_opt.gradients import Descent, DesignSearch, LocalRegression, LocalSurrogate, Sampling
from mode_opt.reconstruction import PriorBelief
from mode_opt.simulation import BlackBoxSimulator
from mode_opt.surrogates import gaussian

BEST = {"material": "PbWO4", "layers": 7, "thickness": 4.0}
OFFSET = {"Pb": 1.5, "PbWO4": 0.0, "W": 1.0}
"""What a material costs more than the best one."""
THICKNESS = {"Pb": 2.0, "PbWO4": 4.0, "W": 3.0}
"""mm that suit each material best."""


class Stack(BlackBoxSimulator):
    """``y ~ N(x + offset + 0.3 (t − t_m)² + 0.1 (n − 7)², 1)``; raises for what cannot be built."""

    def simulate(self, phi: DesignPoint, primaries: Events, generator: torch.Generator | None) -> Events:
        layers, share = phi["layers"], phi["material"]
        if bool((layers != layers.round()).any()):
            raise ValueError("half a layer cannot be built")
        if not bool(((share == 0) | (share == 1)).all()):
            raise ValueError("no such material")
        offset, best = (share @ share.new_tensor(list(of.values())) for of in (OFFSET, THICKNESS))
        level = offset + 0.3 * (phi["thickness"][:, 0] - best) ** 2 + 0.1 * (layers[:, 0] - BEST["layers"]) ** 2
        events = primaries.expand(phi.designs)
        noise = torch.randn(events.hits.shape, generator=generator)
        return Events.of(events.truth, events.hits + level[:, None, None, None] + noise)


def experiment(search: DesignSearch) -> Experiment:
    parameters = {
        "material": {"start": "Pb", "options": list(OFFSET)},
        "layers": {"kind": "integer", "start": 3, "bounds": [1, 12]},
        "thickness": {"start": 2.0, "bounds": [0.5, 8.0], "unit": "mm"},
    }
    inputs = UniformInputs((-1.0,), (1.0,))
    return Experiment(Design(parameters), Stack(), inputs, PriorBelief.fitting, MeanResponse(), search)


def local_surrogate() -> LocalSurrogate:
    return LocalSurrogate(gaussian, sampling=Sampling(calls=200), descent=Descent(events=256))


def found(search: DesignSearch, seed: int, steps: int = 16) -> dict[str, Any]:
    """The design that `optimise` answers, which is snapped."""
    torch.manual_seed(seed)
    effort, look = Effort(warm_up=0), VerificationEffort(steps=1, batch=64, events=256, replicas=2)
    done = optimise(experiment(search), steps, seed, effort, look)
    assert not any(record.columns["failed_designs"] for record in done.history)
    return {name: entry["value"] for name, entry in done.final.items()}


@pytest.mark.parametrize("make", [local_surrogate, pytest.param(LocalRegression, marks=pytest.mark.slow)])
def test_material_layers_and_thickness_are_found_together(make):
    """The start, Pb with 3 layers of 2 mm, has 3.1; PbWO4 with 6 or 8 layers 0.1, W with the best of all else 1.0."""
    end = found(make(), seed=0)
    assert end["material"] == BEST["material"]
    assert abs(end["layers"] - BEST["layers"]) <= 1
    assert end["thickness"] == pytest.approx(BEST["thickness"], abs=0.8)


@pytest.mark.slow
@pytest.mark.parametrize("make", [local_surrogate, LocalRegression])
def test_the_best_material_wins_in_four_of_five_seeds(make):
    ends = [found(make(), seed)["material"] for seed in range(5)]
    assert ends.count(BEST["material"]) >= 4


def test_an_experiment_asks_for_buildable_designs_from_its_first_event_to_its_validation():
    trial = experiment(local_surrogate())
    alternation = Alternation(trial, Effort(warm_up=0, validation_events=64), seed=0)
    with torch.no_grad():
        alternation.average += 0.3  # nothing is whole there
    assert alternation.validate().standard_error > 0
