"""Systematic uncertainties of shapes: what they do to the events or their observable at ±1."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from mode_opt.errors import ConfigurationError
from mode_opt.events import Events
from mode_opt.objectives.scenarios import Scenario

NAMES = ("signal", "background")


@dataclass(frozen=True)
class Variation:
    r"""A systematic uncertainty of the shape of one class or both: what it does at ±1.

    The observable becomes :math:`x (1 \pm \text{scale}) \pm \text{shift}`, or is read from other hit features; the
    weights are multiplied with hit features. The yield of the class may change with the weights, not with x.

    With ``scenarios`` the events themselves are changed before they are reconstructed, so that derivatives reach the
    reconstruction also through what the uncertainty makes of it. An information matrix needs the slope at 0 only,
    which is then :math:`(\lambda_{+1} - \lambda_{-1})/2` up to the square of the step: let the scenarios be close to
    each other, and say by the constraint (`Templates`) how many such steps the parameter is uncertain by.

    Attributes:
        of: ``signal``, ``background``, or ``both`` (with one common parameter).
        shift: added to the observable, in its unit.
        scale: relative change of the observable.
        features: features of the first hit that hold the observable at −1 and at +1.
        weights: features of the first hit with the factors of the weight at −1 and at +1.
        scenarios: what the events are at −1 and at +1.
    """

    of: Literal["signal", "background", "both"] = "background"
    shift: float = 0.0
    scale: float = 0.0
    features: tuple[int, int] | None = None
    weights: tuple[int, int] | None = None
    scenarios: tuple[Scenario, Scenario] | None = None

    def concerns(self, name: str) -> bool:
        return self.of in (name, "both")

    @property
    def of_values(self) -> bool:
        """Whether it changes the observable of an event as it is, which then has to be a number."""
        return bool(self.shift or self.scale or self.features)

    def scenario(self, sign: int) -> Scenario | None:
        """What the events are at −1 or +1; None: as simulated."""
        return None if self.scenarios is None else self.scenarios[(sign + 1) // 2]

    def values(self, sign: int, events: Events, values: Tensor) -> Tensor:
        """Observable at −1 or +1, ``b x n``."""
        if self.features is not None:
            values = events.hits[:, :, 0, self.features[(sign + 1) // 2]].double()
        return values * (1 + sign * self.scale) + sign * self.shift

    def share(self, sign: int, events: Events, share: Tensor) -> Tensor:
        """Weights at −1 or +1, ``b x n``."""
        return share if self.weights is None else share * events.hits[:, :, 0, self.weights[(sign + 1) // 2]]


def variation_of(name: str, given: Variation | Mapping[str, Any]) -> Variation:
    """A `Variation` from its arguments; ``name`` is for messages.

    Raises:
        ConfigurationError: for arguments that cannot be used.
    """
    key = f"objective.templates.shapes.{name}"
    if isinstance(given, Variation):
        return given
    options = dict(given)
    if options.get("scenarios") is not None:
        options["scenarios"] = tuple(options["scenarios"])
    try:
        variation = Variation(**options)
    except TypeError as error:
        raise ConfigurationError(key, options, str(error)) from error
    if variation.of not in (*NAMES, "both"):
        raise ConfigurationError(f"{key}.of", variation.of, "signal, background or both")
    pair = variation.scenarios
    if pair is not None and (len(pair) != 2 or not all(isinstance(one, Scenario) for one in pair)):
        raise ConfigurationError(f"{key}.scenarios", pair, "two scenarios, at −1 and at +1")
    return variation
