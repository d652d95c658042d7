"""The format of numbers and texts in tables and figures."""

import math
from typing import TypeGuard


def compact(number: int | float) -> str:
    """A number as on an axis: 950, 12.3k, 4.1M, 5e-4."""
    if 0 < abs(number) < 1e-3:
        mantissa, exponent = f"{number:.2e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    for size, suffix in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= 0.9995 * size:
            return f"{number / size:.3g}{suffix}"
    return f"{number:.3g}"


def duration(seconds: int | float) -> str:
    """Seconds as hours, minutes and seconds, 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def shorten(text: str, width: int) -> str:
    """Text truncated to `width` characters, with an ellipsis."""
    return text if len(text) <= width else text[: width - 1] + "…"


def one_line(text: str) -> str:
    """Replace line breaks, and repeated spaces, by single spaces."""
    return " ".join(text.split())


def finite(value: object) -> TypeGuard[int | float]:
    """Whether a cell is a finite number."""
    return isinstance(value, int | float) and math.isfinite(value)
