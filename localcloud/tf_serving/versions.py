"""Which version folders of a model should be served, and which served ones may go. Pure; ``repository`` performs it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_NUMBER = re.compile(r"\s*[+-]?\d+\s*", re.A)  # as TensorFlow's safe_strto64 reads it
_INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True)
class Latest:
    """The ``count`` highest versions."""

    count: int


@dataclass(frozen=True)
class All:
    """Every version that is there."""


@dataclass(frozen=True)
class Specific:
    """These versions, as far as they are there."""

    versions: frozenset[int]


Policy = Latest | All | Specific


def numbered(children: Iterable[str]) -> dict[int, str]:
    """Version → folder name, for the names that are numbers (``00000123`` is 123); others are no versions."""
    found = {int(child): child for child in sorted(children) if _NUMBER.fullmatch(child)}
    return {version: child for version, child in sorted(found.items()) if version in _INT64}


def aspired(policy: Policy, folders: Mapping[int, str]) -> dict[int, str]:
    """The part of ``folders`` that ``policy`` asks to serve."""
    match policy:
        case All():
            chosen = set(folders)
        case Latest(count):
            chosen = set(sorted(folders)[-count:])
        case Specific(versions):
            chosen = set(folders) & versions
    return {version: folders[version] for version in sorted(chosen)}


def may_unload(wanted: Iterable[int], available: Iterable[int]) -> bool:
    """Whether versions that are no longer wanted may go now: once a wanted one serves, or where none is wanted.

    TensorFlow Serving's availability-preserving policy: new before old, at the price of both in memory.
    """
    wanted = set(wanted)
    return not wanted or bool(wanted & set(available))
