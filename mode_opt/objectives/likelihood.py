"""Objectives that are figures of a binned likelihood with systematic uncertainties."""

from abc import abstractmethod
from typing import final

import torch
from torch import Tensor
from torch.distributions import Distribution

from mode_opt.design import DesignPoint
from mode_opt.errors import ConfigurationError, NonFiniteError
from mode_opt.events import Events
from mode_opt.objectives.base import Objective, Reconstruct
from mode_opt.objectives.statistics.inference import (
    asimov_statistic,
    discovery,
    log_expected_levels,
    uncertainty,
    upper_limit,
)
from mode_opt.objectives.statistics.model import Model
from mode_opt.objectives.statistics.templates import Templates


class LikelihoodObjective(Objective):
    """A figure of the profile likelihood of histograms of the events, computed in double precision.

    Derivatives come through the observable (soft bins), the weights and the selection, and through the reconstruction
    of events that a nuisance changes (scenarios of a `Variation`). The fits inside are exact and so are their
    derivatives. The histograms are filled on the device of the events, the small likelihood on the CPU.

    Args:
        templates: how the expected counts and their uncertainties follow from the events.
    """

    def __init__(self, templates: Templates | None = None) -> None:
        super().__init__()
        self.templates = Templates() if templates is None else templates

    def forward(self, events: Events, belief: Distribution, phi: DesignPoint) -> Tensor:
        return self.judged(events, belief, phi)

    def judged(
        self, events: Events, belief: Distribution, phi: DesignPoint, reconstruct: Reconstruct | None = None
    ) -> Tensor:
        model = self.templates(events, belief, phi, reconstruct)
        value = self.figure(model)
        if not bool(value.isfinite().all()):
            raise NonFiniteError(f"{type(self).__name__} is not finite: is there signal, and background, in any bin?")
        return value.to(events.weight)

    @abstractmethod
    def figure(self, model: Model) -> Tensor:
        """``b`` values, smaller is better."""


@final
class DiscoverySignificance(LikelihoodObjective):
    r"""``−Z``, the expected significance of a discovery: :math:`Z = \sqrt{q_0}` for the Asimov data with μ = 1.

    Without uncertainties :math:`Z^2 = 2 \sum_i [(s_i + b_i) \ln(1 + s_i/b_i) - s_i]`. With no signal in any bin Z and
    its derivative are 0.

    Source: G. Cowan et al., Eur. Phys. J. C 71 (2011) 1554, eq. 12 and section 5.
    """

    def figure(self, model: Model) -> Tensor:
        return -discovery(model)


@final
class ExpectedUpperLimit(LikelihoodObjective):
    r"""Signal strength that is expected to be excluded if there is none, where :math:`\mathrm{CL}_s = \alpha`.

    Args:
        templates: as of `LikelihoodObjective`.
        level: α, 0.05 for a confidence level of 95 %.
        band: upward fluctuation of the background in σ; 0: the median limit.

    Source: A. L. Read, J. Phys. G 28 (2002) 2693; G. Cowan et al., Eur. Phys. J. C 71 (2011) 1554.
    """

    def __init__(self, templates: Templates | None = None, level: float = 0.05, band: float = 0.0) -> None:
        super().__init__(templates)
        if not 0 < level < 1:
            raise ConfigurationError("objective.level", level, "a probability between 0 and 1")
        if not -5 < band < 5:
            raise ConfigurationError("objective.band", band, "a number of σ between −5 and 5")
        self.level, self.band = level, band

    def figure(self, model: Model) -> Tensor:
        return upper_limit(model, level=self.level, band=self.band)


@final
class ExpectedCLs(LikelihoodObjective):
    r"""Logarithm of the expected CLs of a signal strength, :math:`\ln \frac{1 - \Phi(\sqrt{q_\mu} - n)}{\Phi(n)}`.

    The logarithm has a useful slope where CLs is small, and the same minimum.

    Args:
        templates: as of `LikelihoodObjective`.
        strength: μ.
        band: n, upward fluctuation of the background in σ; 0: the median.

    Source: G. Cowan et al., Eur. Phys. J. C 71 (2011) 1554, eq. 89.
    """

    def __init__(self, templates: Templates | None = None, strength: float = 1.0, band: float = 0.0) -> None:
        super().__init__(templates)
        if not 0 < strength < float("inf"):
            raise ConfigurationError("objective.strength", strength, "a positive signal strength")
        if not -5 < band < 5:
            raise ConfigurationError("objective.band", band, "a number of σ between −5 and 5")
        self.strength, self.band = strength, band

    def figure(self, model: Model) -> Tensor:
        return log_expected_levels(asimov_statistic(model, self.strength), (self.band,)).squeeze(-1)


@final
class ExpectedUncertainty(LikelihoodObjective):
    r"""Expected standard deviation of the signal strength, profiled: :math:`\sqrt{(I^{-1})_{\mu\mu}}`.

    The Fisher information I of all parameters at μ, as in INFERNO, with the nuisances of the templates. Times S it is
    the uncertainty of the number of signal events.

    Args:
        templates: as of `LikelihoodObjective`.
        strength: μ.

    Source: P. de Castro and T. Dorigo, "INFERNO: inference-aware neural optimisation", Comput. Phys. Commun. 244
    (2019) 170.
    """

    def __init__(self, templates: Templates | None = None, strength: float = 1.0) -> None:
        super().__init__(templates)
        if not 0 <= strength < float("inf"):
            raise ConfigurationError("objective.strength", strength, "0 or a positive signal strength")
        self.strength = strength

    def figure(self, model: Model) -> Tensor:
        return uncertainty(model, model.at(torch.tensor(self.strength)))
