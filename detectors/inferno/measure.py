"""How good a summary statistic is, on fresh events that are many enough."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Independent

from mode_opt.design import DesignPoint
from mode_opt.events import Events
from mode_opt.experiment import Experiment
from mode_opt.objectives.base import Reconstruct
from mode_opt.objectives.statistics import Model, Templates, uncertainty
from mode_opt.objectives.uncertainty import Estimate, Replicas
from mode_opt.simulation import stream

from .problem import Mixture


def optimal_classifier(events: Events, phi: DesignPoint) -> Distribution:
    """The probability of the signal in a sample of as many signal as background events, from the known densities."""
    logits = Mixture().log_ratio(events.hits[:, :, 0])
    return Independent(Bernoulli(logits=logits.unsqueeze(-1), validate_args=False), 1, validate_args=False)


def measured(
    experiment: Experiment,
    reconstruct: Reconstruct,
    templates: Mapping[str, Templates],
    events: int = 200_000,
    parts: int = 10,
    seed: int = 0,
) -> dict[str, Estimate]:
    """σ(s) in signal events for each of the templates, with the error that the size of the sample gives (jackknife).

    Args:
        experiment: whose design and simulator make the events.
        reconstruct: the summary statistic.
        templates: by name; all are filled with the same events.
        events: of each part.
        parts: samples that are simulated one after the other, the expected counts being the mean over all.
        seed: of the events, which are none that anything is trained on.
    """
    phi = experiment.design().detach()
    found: dict[str, list[Model]] = {name: [] for name in templates}
    with torch.no_grad():
        for part in range(parts):
            sample = experiment.simulate(phi, events, stream(phi.values.device, seed, "inferno", "measured", part))
            belief = reconstruct(sample, phi)
            for name, one in templates.items():
                found[name].append(one(sample, belief, phi, reconstruct))
        return {name: _estimate(models, templates[name].rates["signal"]) for name, models in found.items()}


def _estimate(models: list[Model], signal: float) -> Estimate:
    """Of the mean model, and with each part left out."""
    left_out = [_sigma([m for m in models if m is not one], signal) for one in models]
    return Replicas(_sigma(models, signal), torch.stack(left_out)).estimate()


def _sigma(models: list[Model], signal: float) -> Tensor:
    def mean(name: str) -> Tensor:
        return torch.stack([getattr(model, name) for model in models]).mean(0)

    whole = replace(models[0], nominal=mean("nominal"), down=mean("down"), up=mean("up"))
    return signal * uncertainty(whole)[0]
