"""What something costs: per kilogram, per volume, or apiece."""

from dataclasses import dataclass
from typing import final

from mode_opt.errors import ConfigurationError
from mode_opt.geometry.names import finite
from mode_opt.units import CURRENCIES, parse_unit, to_field, unit_text

_PER = {(): "", (("kg", -1),): "kg", (("mm", -3),): "mm^3"}


@final
@dataclass(frozen=True)
class Price:
    """A price.

    Attributes:
        amount: of the currency, 0 or more.
        currency: one of `mode_opt.units.CURRENCIES`.
        per: ``kg``, ``mm^3``, or empty for a piece.

    Raises:
        ConfigurationError: for an amount that is negative or not finite, or another currency or quantity.
    """

    amount: float
    currency: str
    per: str = ""

    def __post_init__(self) -> None:
        if finite(self.amount, "price.amount", str(self.currency)) < 0:
            raise ConfigurationError("price.amount", self.amount, "0 or more")
        if self.currency not in CURRENCIES:
            raise ConfigurationError("price.currency", self.currency, f"one of {', '.join(CURRENCIES)}")
        if self.per not in _PER.values():
            raise ConfigurationError("price.per", self.per, "kg, mm^3 or nothing")

    @classmethod
    def of(cls, text: str, key: str = "price") -> "Price":
        """From a text such as ``30 EUR/kg``, ``0.5 EUR/cm^3`` or ``120 EUR``.

        Raises:
            ConfigurationError: naming ``key``, for anything else.
        """
        unit = parse_unit(unit_text(text), key)
        currency = [name for name, power in unit.dimension if name in CURRENCIES and power == 1]
        per = _PER.get(tuple((name, int(power)) for name, power in unit.dimension if name not in currency))
        if len(currency) != 1 or per is None:
            raise ConfigurationError(key, text, "a price such as '30 EUR/kg', '0.5 EUR/cm^3' or '120 EUR' apiece")
        return cls(to_field(text, unit, key), currency[0], per)

    def __str__(self) -> str:
        return f"{self.amount!r} {self.currency}{'/' if self.per else ''}{self.per}"

    def cost(self, mass: float, volume: float) -> float:
        """Of a piece of ``mass`` (kg) and ``volume`` (mm3), in the currency."""
        return self.amount * {"kg": mass, "mm^3": volume, "": 1.0}[self.per]
