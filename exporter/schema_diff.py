"""What has changed for clients between two versions of a model. Pure; whether it may be served is the deployer's to say.

A change breaks where a request that was answered before might now be refused, or its answer might no longer fit what a
client reads it as. In TensorFlow Serving's REST API a request in rows has to name exactly the inputs, and the rows of an
answer are bare values for one output and named values for several.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from exporter.manifest import Manifest, Signature, TensorSpec


@dataclass(frozen=True)
class Change:
    """One difference: its place (``serving_default.inputs.image``), what it is, and whether it breaks clients."""

    where: str
    what: str
    breaking: bool

    def __str__(self) -> str:
        return f"{'! ' if self.breaking else '  '}{self.where}: {self.what}"


@dataclass(frozen=True)
class SchemaDiff:
    """All differences, those that break clients first."""

    changes: tuple[Change, ...]

    @property
    def breaking(self) -> bool:
        """Whether any of them breaks clients."""
        return any(change.breaking for change in self.changes)

    @property
    def lines(self) -> list[str]:
        """A line for each difference; those that break clients begin with an exclamation mark."""
        return [str(change) for change in self.changes]


def schema_diff(old: Manifest, new: Manifest) -> SchemaDiff:
    """The differences in signatures (names, methods, dtypes, shapes) and labels from ``old`` to ``new``."""
    changes = [*_signatures(old.signatures, new.signatures), *_labels(old.labels, new.labels)]
    return SchemaDiff(tuple(sorted(changes, key=lambda change: (not change.breaking, change.where))))


def _signatures(old: dict[str, Signature], new: dict[str, Signature]) -> Iterator[Change]:
    for name in sorted(old.keys() | new.keys()):
        match old.get(name), new.get(name):
            case _, None:
                yield Change(name, "the signature is gone", breaking=True)
            case None, _:
                yield Change(name, "a new signature", breaking=False)
            case Signature() as before, Signature() as after:
                if before.method != after.method:
                    yield Change(name, f"its method was {before.method}, and is {after.method}", breaking=True)
                yield from _inputs(f"{name}.inputs", before.inputs, after.inputs)
                yield from _outputs(f"{name}.outputs", before.outputs, after.outputs)


def _inputs(where: str, old: dict[str, TensorSpec], new: dict[str, TensorSpec]) -> Iterator[Change]:
    for name in sorted(old.keys() | new.keys()):
        place = f"{where}.{name}"
        match old.get(name), new.get(name):
            case TensorSpec() as before, None:
                yield Change(place, f"{_text(before)} is no longer taken", breaking=True)
            case None, TensorSpec() as after:
                yield Change(place, f"{_text(after)} has to be given now", breaking=True)
            case TensorSpec() as before, TensorSpec() as after if before != after:
                wider = before.dtype == after.dtype and _covers(after.shape, before.shape)
                yield Change(place, f"took {_text(before)}, takes {_text(after)}", breaking=not wider)


def _outputs(where: str, old: dict[str, TensorSpec], new: dict[str, TensorSpec]) -> Iterator[Change]:
    bare = len(old) == 1
    for name in sorted(old.keys() | new.keys()):
        place = f"{where}.{name}"
        match old.get(name), new.get(name):
            case TensorSpec() as before, None:
                yield Change(place, f"{_text(before)} is no longer given", breaking=True)
            case None, TensorSpec() as after:
                and_so = ", so answers in rows become named values" if bare else ""
                yield Change(place, f"{_text(after)} is given as well{and_so}", breaking=bare)
            case TensorSpec() as before, TensorSpec() as after if before != after:
                narrower = before.dtype == after.dtype and _covers(before.shape, after.shape)
                yield Change(place, f"gave {_text(before)}, gives {_text(after)}", breaking=not narrower)


def _labels(old: tuple[str, ...] | None, new: tuple[str, ...] | None) -> Iterator[Change]:
    if old is None or new is None or old == new:
        return  # with the labels the signature classify_image comes and goes
    gone = [label for label in old if label not in new]
    added = [label for label in new if label not in old]
    if gone:
        yield Change("labels", f"no longer given: {_some(gone)}", breaking=True)
    if added:
        yield Change("labels", f"new: {_some(added)}", breaking=False)
    kept = [label for label in old if label in new]
    if kept != [label for label in new if label in old]:
        yield Change("labels", "their order, and so that of the raw scores, is another", breaking=True)


def _covers(wide: list[int | None] | None, narrow: list[int | None] | None) -> bool:
    """Whether every tensor of the shape ``narrow`` is also one of ``wide``."""
    if wide is None:
        return True
    if narrow is None or len(wide) != len(narrow):
        return False
    return all(large is None or large == small for large, small in zip(wide, narrow, strict=True))


def _text(spec: TensorSpec) -> str:
    if spec.shape is None:
        return f"{spec.dtype} of any shape"
    return f"{spec.dtype}[{', '.join('N' if side is None else str(side) for side in spec.shape)}]"


def _some(labels: list[str], at_most: int = 5) -> str:
    more = f" and {len(labels) - at_most} more" if len(labels) > at_most else ""
    return ", ".join(f"'{label}'" for label in labels[:at_most]) + more
