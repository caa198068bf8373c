"""The selection as an expression for uproot."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from mode_opt.errors import ConfigurationError

from .detector import configured, cuts_of
from .features import LAYERS
from .observables import moment_aliases


@final
@dataclass(frozen=True)
class UprootCut:
    """Hard cuts for ``tree.arrays(cut=cut, aliases=aliases)``, or ``tree.arrays(cut=str(...))`` without aliases.

    Both forms use nothing but sums and products of the branch ``edep_gap``, for awkward and numpy arrays alike. They
    are evaluated in the single precision of the file: a shower whose observable agrees with a threshold to seven
    digits may fall on either side of it.

    Attributes:
        cut: the conditions of all cuts.
        aliases: the sums over layers that they refer to.
        thresholds: rounded, as written in the expression.
    """

    cut: str
    aliases: Mapping[str, str]
    thresholds: Mapping[str, float]

    def __str__(self) -> str:
        """The cut with its aliases written out."""
        return re.sub(r"\bmoment_\d\b", lambda found: self.aliases[found.group()], self.cut)


def uproot_cut(thresholds: Mapping[str, float], digits: int = 4, **changes: Any) -> UprootCut:
    """The expression for these thresholds, rounded to so many significant digits.

    Args:
        thresholds: by name of the cut, e.g. from ``design.*.final.value`` of a ``result.json``.
        digits: significant digits.
        changes: of the configuration, as for `event_selection`.

    Raises:
        ConfigurationError: if a cut has no threshold.
    """
    observables, cuts = cuts_of(configured(**changes))
    missing = [name for name in cuts if name not in thresholds]
    if missing:
        raise ConfigurationError("thresholds", sorted(thresholds), f"a number for each of {', '.join(cuts)}")
    rounded = {name: float(f"{thresholds[name]:.{digits}g}") for name in cuts}
    conditions = [observables[name].condition(cuts[name].keep, rounded[name], LAYERS) for name in cuts]
    return UprootCut(" & ".join(conditions), moment_aliases(LAYERS), rounded)
