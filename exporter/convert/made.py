"""What every way of making a servable gives back."""

from collections.abc import Callable
from dataclasses import dataclass

from exporter.errors import Stage
from exporter.manifest import Golden, Image, Parity, Signature

Enter = Callable[[Stage], None]
"""Called as a stage begins."""


@dataclass(frozen=True)
class Made:
    """A servable that was written, read back and found to answer as its source."""

    signatures: dict[str, Signature]
    image: Image | None
    golden: list[Golden]
    parity: Parity
