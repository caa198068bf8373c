"""Names and numbers of geometries: what may be written into XML, macros and tables as it stands."""

import math
import re
from numbers import Real

from mode_opt.errors import ConfigurationError

LONGEST = 200

_NAME = re.compile(rf"[A-Za-z_][A-Za-z0-9_.-]{{0,{LONGEST - 1}}}")


def checked_name(name: object, key: str) -> str:
    """The name, if every format can hold it: an XML identifier of ASCII letters, digits, ``_``, ``.`` and ``-``.

    ``0x`` is refused because Geant4 cuts a name that it reads from GDML there.

    Raises:
        ConfigurationError: naming ``key``, for any other name.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or "0x" in name:
        expected = "a letter or _, then letters, digits, _, . and - (ASCII, without '0x')"
        raise ConfigurationError(key, name, expected)
    return name


def positive(value: object, key: str, unit: str) -> float:
    """A positive finite number.

    Raises:
        ConfigurationError: naming ``key``, for anything else.
    """
    number = finite(value, key, unit)
    if not number > 0:
        raise ConfigurationError(key, value, f"a positive number in {unit}")
    return number


def finite(value: object, key: str, unit: str) -> float:
    """A finite number.

    Raises:
        ConfigurationError: naming ``key``, for anything else.
    """
    if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value):
        raise ConfigurationError(key, value, f"a finite number in {unit}")
    return float(value)
