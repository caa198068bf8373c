"""The errors a user meets: each says what came, what was expected and which key to change."""


class ModeOptError(Exception):
    """Base of every error that mode_opt raises on purpose; the command line prints it without a stack trace."""


class ConfigurationError(ModeOptError):
    """A setting that cannot be used.

    Args:
        key: the configuration key (or argument) to change, e.g. ``design.parameters.gap_thickness.start``.
        value: what came.
        expected: what was expected, in words.
    """

    def __init__(self, key: str, value: object, expected: str) -> None:
        self.key, self.value, self.expected = key, value, expected
        super().__init__(f"{key}: got {value!r}, expected {expected}")

    def __reduce__(self) -> tuple[type["ConfigurationError"], tuple[str, object, str]]:
        return ConfigurationError, (self.key, self.value, self.expected)


class ShapeError(ModeOptError):
    """A tensor whose shape breaks a contract (``b`` designs, ``n`` events, ``h`` hits, ``f`` and ``t`` features)."""

    def __init__(self, name: str, shape: object, expected: str) -> None:
        got = tuple(shape) if hasattr(shape, "__iter__") else shape
        super().__init__(f"{name}: got shape {got}, expected {expected}")


class DataError(ModeOptError):
    """A data file that does not hold what was asked of it; the message names the file and the branch."""


class NonFiniteError(ModeOptError):
    """A NaN or an infinity where a finite number is needed; the message says where it first appeared."""


class SimulationError(ModeOptError):
    """A simulator that failed, or that returned what it must not."""
