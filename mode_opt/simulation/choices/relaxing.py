"""Outcomes that carry a derivative themselves."""

from typing import final

from torch import Tensor

from mode_opt.errors import ConfigurationError
from mode_opt.simulation.choices.chooser import Chooser, Site, dtype_of
from mode_opt.simulation.choices.laws import Law, RelaxableLaw, SmoothLaw


@final
class Relaxing(Chooser):
    """Coins and classes relaxed, real numbers reparameterised; only choices that depend on the design.

    Args:
        temperature: of the relaxation; None: the mean of the outcome, without noise.
        hard: whether the outcome has the value of the hard choice and only the derivative of the relaxation.

    Raises:
        ConfigurationError: by `choose`, for a count that depends on the design: it has no relaxation.
    """

    def __init__(self, temperature: float | None, hard: bool) -> None:
        if temperature is not None and not temperature > 0:
            raise ConfigurationError("gradient.temperature", temperature, "a positive number")
        self.temperature, self.hard = temperature, hard

    def choose(self, law: Law, site: Site) -> Tensor:
        dtype = dtype_of(law)
        if not law.depends:
            return law.draw(site.uniform(dtype))
        if isinstance(law, SmoothLaw):
            return law.transform(site.uniform(dtype))
        if not isinstance(law, RelaxableLaw):
            raise ConfigurationError(
                "gradient",
                "a relaxation",
                f"one that can draw {type(law).__name__}, for example score_function: counts have no relaxation, only "
                "coins, classes and real numbers do",
            )
        uniform = site.uniform(dtype, width=law.width)
        soft = law.mean if self.temperature is None else law.relaxed(uniform, self.temperature)
        return law.hardened(uniform) + (soft - soft.detach()) if self.hard else soft
