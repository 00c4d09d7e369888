"""A small world in memory that implements ``deployer/ports.py``: storage, the queue, and the seam for faults.

Everything that the deployer does outside passes ``World.effect``: there it is counted, and there it can be made to fail or
"killed", before or after it happened. Time stands still but for ``World.pass_time``. The cluster's half is ``fake_cluster``.
"""

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from deployer.errors import Conflict, LeaseLost
from deployer.ports import BlobRef, StoredDocument

LEASE = timedelta(seconds=30)


class Killed(BaseException):
    """The process ended here, at this instruction. No handler of the product may catch it."""


@dataclass(frozen=True)
class Effect:
    """One call to the outside. ``number`` counts those that change something, from 1; 0 for a mere look. ``call`` counts all."""

    number: int
    call: int
    name: str
    subject: str
    at: datetime


@dataclass
class Fault:
    """What goes wrong at the effects that ``at`` chooses; ``after``: only once the effect has taken place."""

    at: Callable[[Effect], bool]
    error: BaseException
    after: bool = False
    times: int = 1


@dataclass
class World:
    """The clock, the seam that all effects pass, and the faults to come."""

    now: datetime = datetime(2026, 7, 1, 12, tzinfo=UTC)
    effects: list[Effect] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    watch: Callable[[Effect], object] = lambda effect: None  # looks at the world after each effect
    _changes: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _calls: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def clock(self) -> datetime:
        """The time."""
        return self.now

    def pass_time(self, seconds: float) -> None:
        """Lets time pass."""
        self.now += timedelta(seconds=seconds)

    def kill_at(self, number: int, *, after: bool = False) -> None:
        """Kills the process at the change of this number, counted from the world's beginning."""
        self.faults.append(Fault(lambda effect: effect.number == number, Killed(number), after))

    def fail_at(self, call: int, error: BaseException, *, after: bool = False) -> None:
        """Makes the call of this number fail, looks included: without effect, or ``after`` it took place (a timeout)."""
        self.faults.append(Fault(lambda effect: effect.call == call, error, after))

    def fail(self, name: str, error: BaseException, *, times: int = 1, after: bool = False) -> None:
        """Makes the next effects of this name fail."""
        self.faults.append(Fault(lambda effect: effect.name == name, error, after, times))

    @contextmanager
    def effect(self, name: str, subject: str = "", *, changes: bool = True) -> Iterator[None]:
        """One effect; its body is what happens outside."""
        effect = Effect(next(self._changes) if changes else 0, next(self._calls), name, subject, self.now)
        self._strike(effect, after=False)
        yield
        self.effects.append(effect)
        self.watch(effect)
        self._strike(effect, after=True)

    @property
    def calls(self) -> int:
        """How many calls took place."""
        return max((effect.call for effect in self.effects), default=0)

    def changes(self) -> list[Effect]:
        """The effects that changed something and took place."""
        return [effect for effect in self.effects if effect.number]

    def times(self, name: str, subject: str) -> list[datetime]:
        """When these effects took place."""
        return [effect.at for effect in self.effects if (effect.name, effect.subject) == (name, subject)]

    def _strike(self, effect: Effect, *, after: bool) -> None:
        for fault in self.faults:
            if fault.times > 0 and fault.after == after and fault.at(effect):
                fault.times -= 1
                raise fault.error


@dataclass
class Blob:
    """A stored blob."""

    data: bytes
    etag: str
    modified: datetime
    tags: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)


class Container:
    """One blob container: the base of the three below. Names sort as Azure lists them."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self._name = name
        self._etags = itertools.count(1)
        self.blobs: dict[str, Blob] = {}

    def store(self, path: str, data: bytes) -> str:
        """Stores as somebody else would: no effect of the deployer's."""
        etag = f"0x{self._name}{next(self._etags)}"
        self.blobs[path] = Blob(data, etag, self.world.now)
        return etag

    def listing(self, prefix: str) -> Iterable[BlobRef]:
        with self._effect("list", prefix, changes=False):
            found = sorted((name, blob) for name, blob in self.blobs.items() if name.startswith(prefix))
        return iter([_ref(name, blob) for name, blob in found])

    def read(self, path: str) -> StoredDocument | None:
        with self._effect("read", path, changes=False):
            blob = self.blobs.get(path)
            return None if blob is None else StoredDocument(blob.data, blob.etag)

    def remove(self, path: str, *, etag: str | None = None) -> None:
        with self._effect("remove", path):
            blob = self.blobs.get(path)
            if blob is not None and etag in (None, blob.etag):
                del self.blobs[path]

    def _effect(self, what: str, path: str, *, changes: bool = True) -> AbstractContextManager[None]:
        return self.world.effect(f"{self._name}.{what}", path, changes=changes)


class FakeDocuments(Container):
    """The state container. Implements ``Documents``. A lease whose holder was killed runs out by the clock."""

    def __init__(self, world: World) -> None:
        super().__init__(world, "documents")
        self.leases: dict[str, tuple[datetime, FakeLease]] = {}

    def write(self, path: str, data: bytes, *, etag: str | None, metadata: Mapping[str, str] | None = None) -> str:
        with self._effect("write", path):
            before = self.blobs.get(path)
            if (before.etag if before else None) != etag:
                raise Conflict("conflict", f"'{path}' was written by another.", "Read it again.")
            written = self.store(path, data)
            self.blobs[path].metadata = dict(metadata or {})
            return written

    def put(self, path: str, data: bytes) -> None:
        with self._effect("put", path):
            self.store(path, data)

    @contextmanager
    def lease(self, name: str) -> Iterator["FakeLease | None"]:
        lease = FakeLease(self, name)
        with self._effect("lease", name):
            held = lease.acquire()
        if not held:
            yield None
            return
        try:
            yield lease
        except Killed:
            raise
        except BaseException:
            lease.release()
            raise
        else:
            lease.release()


@dataclass(eq=False)
class FakeLease:
    """A lease. Implements ``Lease``: to check it is to renew it, which its holder alone can, until another has it."""

    documents: FakeDocuments
    name: str

    def acquire(self) -> bool:
        now = self.documents.world.now
        until, _ = self.documents.leases.get(self.name, (now, None))
        if until > now:
            return False
        self.documents.leases[self.name] = (now + LEASE, self)
        return True

    def check(self) -> None:
        with self.documents.world.effect("lease.check", self.name, changes=False):
            _, holder = self.documents.leases.get(self.name, (None, None))
            if holder is not self:
                raise LeaseLost("lease_lost", f"'locks/{self.name}' is not ours any more.", "Another goes on.")
            self.documents.leases[self.name] = (self.documents.world.now + LEASE, self)

    def release(self) -> None:
        if self.documents.leases.get(self.name, (None, None))[1] is self:
            del self.documents.leases[self.name]


class FakeUploads(Container):
    """The drop container. Implements ``UploadStore``. ``drop`` is the user's."""

    def __init__(self, world: World) -> None:
        super().__init__(world, "uploads")
        self.events: list[str] = []

    def drop(self, name: str, data: bytes | str, *, event: bool = True) -> None:
        """A user uploads; the platform tells of it, unless the event is lost."""
        self.store(name, data.encode() if isinstance(data, str) else data)
        if event:
            self.events.append(name)

    def find(self, blob: str) -> BlobRef | None:
        with self._effect("find", blob, changes=False):
            found = self.blobs.get(blob)
            return None if found is None else _ref(blob, found)

    def download(self, blob: BlobRef, to: Path) -> None:
        with self._effect("download", blob.name, changes=False):
            found = self.blobs.get(blob.name)
            if found is None or found.etag != blob.etag:
                raise Conflict("overwritten", f"'{blob.name}' changed while it was read.", "It is begun anew.")
            to.write_bytes(found.data)

    def tag(self, blob: str, tags: Mapping[str, str]) -> None:
        with self._effect("tag", blob):
            if blob in self.blobs:
                after = {**self.blobs[blob].tags, **tags}
                self.blobs[blob].tags = {key: value for key, value in after.items() if value}

    def tags(self, blob: str) -> dict[str, str]:
        """The blob's index tags."""
        found = self.blobs.get(blob)
        return dict(found.tags) if found is not None else {}


class FakeServables(Container):
    """The container that the cluster mounts. Implements ``ServableStore``. Published files may never change."""

    def __init__(self, world: World, drop: FakeUploads) -> None:
        super().__init__(world, "servables")
        self._drop = drop

    def upload(self, path: str, source: Path, *, replace: bool = True) -> None:
        with self._effect("upload", path):
            self._put(path, source.read_bytes(), replace=replace)

    def copy(self, path: str, source: BlobRef, *, replace: bool = True) -> None:
        with self._effect("copy", path):
            found = self._drop.blobs.get(source.name)
            if found is None or found.etag != source.etag:
                raise Conflict("overwritten", f"'{source.name}' changed before it was copied.", "It is begun anew.")
            self._put(path, found.data, replace=replace)

    def _put(self, path: str, data: bytes, *, replace: bool) -> None:
        if path in self.blobs and not replace:
            raise Conflict("exists", f"'{path}' is there already.", "Look again at what there is.")
        folder = "/".join(path.split("/")[:2])
        assert f"{folder}/saved_model.pb" not in self.blobs, f"'{path}' is written below a version that is visible"
        self.store(path, data)
        if path == f"{folder}/saved_model.pb":
            self.assert_whole()

    def assert_whole(self) -> None:
        """Of every version that is visible, all that its manifest lists must be there, and nothing else."""
        for folder in self.visible():
            manifest = json.loads(self.blobs[f"{folder}/servable.json"].data)
            listed = {name: file["sha256"] for name, file in manifest["files"].items()}
            there = {name: blob for name, blob in self.blobs.items() if name.startswith(f"{folder}/")}
            found = {name.removeprefix(f"{folder}/"): digest(blob.data) for name, blob in there.items()}
            del found["servable.json"]
            assert found == listed, folder

    def visible(self) -> dict[str, list[str]]:
        """What TensorFlow Serving would take for versions: directories with a saved_model.pb, and their files."""
        roots = [name.removesuffix("saved_model.pb") for name in self.blobs if name.endswith("/saved_model.pb")]
        return {root.rstrip("/"): sorted(self._below(root)) for root in sorted(roots)}

    def _below(self, root: str) -> Iterator[str]:
        return (name.removeprefix(root) for name in self.blobs if name.startswith(root))


@dataclass(frozen=True)
class Message:
    """A queued message and when it becomes visible."""

    model: str
    due: datetime
    chain: str | None = None
    job: str | None = None


class FakeQueue:
    """The queue ``rollouts``. Implements ``RolloutQueue``. ``take`` is the platform's."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.messages: list[Message] = []

    def ask(self, model: str, *, delay_seconds: int = 0, chain: str | None = None, job: str | None = None) -> None:
        with self._world.effect("queue.ask", model):
            self.messages.append(Message(model, self._world.now + timedelta(seconds=delay_seconds), chain, job))

    def take(self) -> Message | None:
        """The next visible message, which is then gone."""
        due = [message for message in self.messages if message.due <= self._world.now]
        if not due:
            return None
        first = min(due, key=lambda message: message.due)
        self.messages.remove(first)
        return first


@dataclass
class FakeQueues:
    """What waits in the account's queues. Implements ``Queues``."""

    counts: dict[str, int]

    def waiting(self, queue: str) -> int | None:
        return self.counts.get(queue)


class FakeOperationQueue:
    """The queue ``operations``. Implements ``OperationQueue``."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.asked: list[tuple[str, int]] = []

    def ask(self, operation: str, *, delay_seconds: int = 0) -> None:
        with self._world.effect("operations.ask", operation):
            self.asked.append((operation, delay_seconds))


def digest(*parts: bytes) -> str:
    """SHA-256 over these, in hexadecimal."""
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _ref(name: str, blob: Blob) -> BlobRef:
    return BlobRef(name, blob.etag, len(blob.data), blob.modified, dict(blob.metadata))
