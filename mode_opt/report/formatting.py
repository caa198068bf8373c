"""Numbers as a reader of a paper expects them."""

import math

from mode_opt.report.result import Estimate, Value

ABSENT = "not measured"


def number(value: float | None, digits: int = 4) -> str:
    """A number with ``digits`` significant digits, a true minus sign and no exponent from 10⁻⁴ to 10⁶.

    Args:
        value: the number, None if it was not measured.
        digits: significant digits.
    """
    if value is None or math.isnan(value):
        return ABSENT
    if value == 0 or math.isinf(value):
        return "0" if value == 0 else "∞" if value > 0 else "−∞"
    power = math.floor(math.log10(abs(value)))
    if -4 <= power < 6:
        rounded = round(value, digits - 1 - power)
        text = f"{rounded:.{max(digits - 1 - power, 0)}f}"
        return _minus(text.rstrip("0").rstrip(".") if "." in text else text)
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    return _minus(mantissa) + " × 10" + _superscript(int(exponent))


def estimate(value: Estimate | None) -> str:
    """``value ± standard error``, both rounded to the second significant digit of the error.

    ``(1.23 ± 0.45) × 10⁻⁷`` where plain decimals would be unreadable.
    """
    if value is None:
        return ABSENT
    error = value.standard_error
    if error is None or error <= 0:
        return f"{number(value.value)} (no standard error)"
    largest = max(abs(value.value), error)
    power = math.floor(math.log10(largest))
    if -4 <= power < 6:
        return _pair(value.value, error)
    scale = 10.0**power
    return f"({_pair(value.value / scale, error / scale)}) × 10{_superscript(power)}"


def interval(low: float, high: float) -> str:
    """``low to high``, rounded to the third significant digit of their distance."""
    decimals = max(0, 2 - math.floor(math.log10(high - low))) if high > low else 4
    if decimals > 7:
        return f"{number(low)} to {number(high)}"
    return f"{_minus(f'{low:.{decimals}f}')} to {_minus(f'{high:.{decimals}f}')}"


def value(content: Value | None) -> str:
    """A design value: a number, an option, or the summary of an array."""
    if content is None:
        return ABSENT
    if isinstance(content, str):
        return content
    if isinstance(content, float):
        return number(content)
    if not content or isinstance(content[0], str):
        return ", ".join(str(item) for item in content)
    known = [float(item) for item in content if not math.isnan(float(item))]
    if len(content) <= 4 or not known:
        return ", ".join(number(float(item)) for item in content)
    if min(known) == max(known) and len(known) == len(content):
        return f"{len(content)} × {number(known[0])}"
    mean = math.fsum(known) / len(known)
    return f"{number(min(known))} to {number(max(known))} (mean {number(mean)})"


def change(initial: Value | None, final: Value | None) -> str:
    """Difference of two design values, with percent of the first."""
    if initial is None or final is None:
        return ABSENT
    if isinstance(initial, float) and isinstance(final, float):
        difference = final - initial
        if difference == 0:
            return "0"
        percent = f" ({_signed(100 * difference / abs(initial), 3)} %)" if initial else ""
        return _signed(difference, 4) + percent
    if isinstance(initial, list) and isinstance(final, list):
        pairs = list(zip(initial, final, strict=False))
        differences = [b - a for a, b in pairs if isinstance(a, float) and isinstance(b, float)]
        if differences and len(differences) == len(initial) == len(final):
            return f"{_signed(min(differences), 4)} to {_signed(max(differences), 4)}"
    return "unchanged" if initial == final else "changed"


def duration(seconds: float) -> str:
    """``4 min 07 s``."""
    if seconds < 60:
        return f"{number(seconds, 3)} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def count(value: float) -> str:
    """``1 234 567`` with narrow spaces."""
    return f"{round(value):,}".replace(",", "\u202f")


def _pair(value: float, error: float) -> str:
    decimals = max(0, 1 - math.floor(math.log10(error)))
    return f"{_minus(f'{value:.{decimals}f}')} ± {error:.{decimals}f}"


def _signed(value: float, digits: int) -> str:
    return ("+" if value > 0 else "") + number(value, digits)


def _minus(text: str) -> str:
    return text.replace("-", "−")


def _superscript(exponent: int) -> str:
    return str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
