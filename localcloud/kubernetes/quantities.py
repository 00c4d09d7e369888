"""Kubernetes resource quantities: ``500m``, ``2``, ``10Gi``. Pure."""

import re
from decimal import Decimal

_QUANTITY = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+))(?:([eE][+-]?\d+)|(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei))?")
_FACTOR = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "k": Decimal("1e3"), "M": Decimal("1e6"),
    "G": Decimal("1e9"), "T": Decimal("1e12"), "P": Decimal("1e15"), "E": Decimal("1e18"), "Ki": Decimal(1024),
    "Mi": Decimal(1024**2), "Gi": Decimal(1024**3), "Ti": Decimal(1024**4), "Pi": Decimal(1024**5),
    "Ei": Decimal(1024**6),
}  # fmt: skip


def parse_quantity(text: str | float) -> Decimal:
    """Returns the amount in base units (bytes, cores, pieces).

    Raises ValueError for what is no quantity.
    """
    matched = _QUANTITY.fullmatch(str(text))
    if matched is None:
        raise ValueError(f"{text!r} is no quantity; write a number with an optional suffix, such as 500m or 10Gi")
    number, exponent, suffix = matched.groups()
    return Decimal(number + (exponent or "")) * _FACTOR.get(suffix or "", Decimal(1))
