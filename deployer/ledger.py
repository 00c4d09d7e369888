"""What was running when, who changed it and why, and what it cost. The lines and their sums are pure; ``Ledger`` keeps them.

A line says what runs *from* its moment on, so that the sums need nothing but lines. The ledger is kept by looking: each look
compares what runs with the last line and writes another where it differs; a look that was lost or cut short is made good by
the next. Lines are in order of time, whatever the clock does: after one that was set back, they bear the last line's time until
it is reached again. ``ledger/YYYY-MM.jsonl`` holds a month (UTC), one line each.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict

from deployer.economy import Costs
from deployer.errors import BadRequest, Conflict
from deployer.glance import Glance
from deployer.ports import Clock, ClusterState, Documents
from deployer.record import ClusterRecord

_ATTEMPTS = 10
_HOUR = timedelta(hours=1)
_LASTS = timedelta(
    hours=1
)  # a cause explains what follows from it for so long: nodes come minutes after they were asked for
Rung = Literal["awake", "pods", "pool", "stopped"]


class Line(BaseModel):
    """What runs from ``at`` on. Prices are per hour, in ``currency``; None: not known.

    ``gpu_price``: of one GPU node. ``other_price``: of all other nodes together.
    ``awake``: the models whose pods take part in the GPU nodes; ``gpus``: how many each asks for, in their order.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    at: datetime
    rung: Rung
    by: str
    why: str
    gpu_nodes: int
    gpu_size: str
    gpu_price: float | None
    other_nodes: int
    other_price: float | None
    currency: str
    awake: tuple[str, ...]
    gpus: tuple[int, ...] = ()

    @property
    def shares(self) -> dict[str, float]:
        """Each model's share of the GPU nodes: by the GPUs that it asks for; of nobody's, ``""`` has all."""
        if not self.awake:
            return {"": 1.0}
        gpus = self.gpus if len(self.gpus) == len(self.awake) and all(self.gpus) else (1,) * len(self.awake)
        return {name: count / sum(gpus) for name, count in zip(self.awake, gpus, strict=True)}

    def differs(self, other: Self) -> bool:
        """Whether something else runs."""
        fields = {"at", "by", "why"}
        return self.model_dump(exclude=fields) != other.model_dump(exclude=fields)


def line(cluster: ClusterState, record: ClusterRecord, models: Iterable[Glance], costs: Costs, now: datetime) -> Line:
    """What runs now."""
    running = cluster.power == "Running"
    nodes = (cluster.pool_count or 0) if running else 0
    others = dict(cluster.others) if running else {}
    asked = {model.name: model.gpus for model in models if model.gpus > 0 and not model.asleep}
    awake = tuple(sorted(asked))
    rung: Rung = "stopped" if not running else "pool" if nodes == 0 else "awake" if awake else "pods"
    cause = record.cause if record.cause and now - record.cause.at < _LASTS else None
    return Line(
        at=now, rung=rung, by=cause.by if cause else "unknown", why=cause.why if cause else "seen so",
        gpu_nodes=nodes, gpu_size=cluster.pool_size, gpu_price=costs.prices.of(cluster.pool_size),
        other_nodes=sum(others.values()), other_price=costs.nodes_per_hour(others), currency=costs.prices.currency,
        awake=awake, gpus=tuple(asked[name] for name in awake),
    )  # fmt: skip


@dataclass(frozen=True)
class Sums:
    """A stretch of time: GPU node-hours and money, as it was and as it would have been always on.

    Money is None where a price is not known. ``by_model``: each model's share of the GPU money, by the GPUs that those awake ask
    for; under ``""`` what ran while none was.
    """

    start: datetime
    end: datetime
    gpu_hours: float
    gpu_hours_always: float
    money: float | None
    money_always: float | None
    currency: str
    by_model: dict[str, dict[str, float | None]]

    @property
    def saved(self) -> float | None:
        """Money not spent."""
        return None if self.money is None or self.money_always is None else self.money_always - self.money

    def view(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "start": self.start.isoformat(), "end": self.end.isoformat(), "gpu_hours": round(self.gpu_hours, 3),
            "gpu_hours_always_on": round(self.gpu_hours_always, 3), "money": _cents(self.money),
            "money_always_on": _cents(self.money_always), "saved": _cents(self.saved), "currency": self.currency,
            "by_model": {
                name or "(none awake)": {key: _cents(value) for key, value in share.items()}
                for name, share in sorted(self.by_model.items())
            },
        }  # fmt: skip


def sums(lines: Sequence[Line], start: datetime, end: datetime, *, gpu_nodes: int) -> Sums:
    """Adds up what ran from ``start`` to ``end``.

    Args:
        lines: in order of time; the last at or before ``start`` says what ran then. Before the first line nothing is known,
            and nothing is counted, for neither side.
        start: of the stretch.
        end: of the stretch, at most now.
        gpu_nodes: how many GPU nodes an always-on pool would have had.
    """
    hours, always, money, money_always = 0.0, 0.0, 0.0, 0.0
    known = True
    shares: dict[str, dict[str, float | None]] = {}
    until = [*(item.at for item in lines[1:]), end]
    for item, left in zip(lines, until, strict=False):  # without lines there is one time too many
        begun, ended = max(item.at, start), min(left, end)
        if ended <= begun:
            continue
        span = (ended - begun) / _HOUR
        hours += item.gpu_nodes * span
        always += gpu_nodes * span
        known = known and item.gpu_price is not None and item.other_price is not None
        money += (item.gpu_nodes * (item.gpu_price or 0) + (item.other_price or 0)) * span
        money_always += (gpu_nodes * (item.gpu_price or 0) + _always_others(lines)) * span
        for name, part_of in item.shares.items():
            part = span * item.gpu_nodes * part_of
            share = shares.setdefault(name, {"gpu_hours": 0.0, "money": 0.0})
            share["gpu_hours"] = (share["gpu_hours"] or 0) + part
            share["money"] = (
                None if item.gpu_price is None or share["money"] is None else share["money"] + part * item.gpu_price
            )
    return Sums(
        start, end, hours, always, money if known else None, money_always if known else None,
        lines[-1].currency if lines else "USD", {name: share for name, share in shares.items() if share["gpu_hours"]},
    )  # fmt: skip


def stretches(lines: Sequence[Line], start: datetime, end: datetime) -> tuple[Sums, ...]:
    """For each line the hours and the money until the next, as far as they lie in the stretch."""
    until = [*(item.at for item in lines[1:]), end]
    return tuple(
        sums([item], max(item.at, start), max(item.at, start, min(left, end)), gpu_nodes=item.gpu_nodes)
        for item, left in zip(lines, until, strict=False)
    )


def _always_others(lines: Sequence[Line]) -> float:
    return max((item.other_price or 0 for item in lines), default=0.0)


@dataclass(frozen=True)
class Ledger:
    """The ledger in the state container."""

    documents: Documents
    costs: Costs
    clock: Clock

    def look(self, cluster: ClusterState, record: ClusterRecord, models: Iterable[Glance]) -> None:
        """Writes a line if something else runs than the last line says."""
        found = line(cluster, record, models, self.costs, self.clock())
        for _ in range(_ATTEMPTS):
            last = self._last()
            if last is not None and not found.differs(last):
                return
            if last is not None and last.at > found.at:
                found = found.model_copy(update={"at": last.at})
            path = _path(found.at)
            stored = self.documents.read(path)
            text = (stored.data if stored else b"") + found.model_dump_json().encode() + b"\n"
            try:
                self.documents.write(path, text, etag=stored.etag if stored else None)
            except Conflict:
                continue
            return
        raise Conflict(
            "busy", f"'{_path(found.at)}' was written by others {_ATTEMPTS} times in a row.", "It is tried again."
        )

    def month(self, month: str | None) -> tuple[Sums, tuple[Line, ...]]:
        """The sums of a month, ``YYYY-MM`` (None: this one), up to now; and its lines.

        Raises:
            BadRequest: that is no month.
        """
        now = self.clock()
        start = _month(month, now)
        end = min(now, _following(start))
        before = self._last(start - timedelta(microseconds=1))
        lines = [*([before] if before else []), *self._lines(_path(start))]
        return sums(lines, start, max(start, end), gpu_nodes=self.costs.gpu_nodes), tuple(lines)

    def _last(self, until: datetime | None = None) -> Line | None:
        """The newest line of all, or of the month of ``until``, or of the newest month before it that has one."""
        kept = (blob.name for blob in self.documents.listing("ledger/"))
        months = sorted(name for name in kept if until is None or name <= _path(until))
        for path in reversed(months):
            if texts := self._texts(path):
                return Line.model_validate_json(texts[-1])
        return None

    def _lines(self, path: str) -> list[Line]:
        return [Line.model_validate_json(text) for text in self._texts(path)]

    def _texts(self, path: str) -> list[bytes]:
        stored = self.documents.read(path)
        return [] if stored is None else [text for text in stored.data.splitlines() if text]


def _path(moment: datetime) -> str:
    return f"ledger/{moment.astimezone(UTC):%Y-%m}.jsonl"


def _month(text: str | None, now: datetime) -> datetime:
    if text is None:
        return now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    try:
        return datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
    except ValueError as error:
        raise BadRequest("bad_parameter", f"'{text[:20]}' is no month.", "Use ?month=2026-11, for example.") from error


def _following(start: datetime) -> datetime:
    return (start + timedelta(days=32)).replace(day=1)


def _cents(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
