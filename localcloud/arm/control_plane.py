"""Performs the operations that ARM has accepted, one at a time, across restarts.

A request is decided at once and stored; its effect takes place when its delay is over: the infrastructure is made to
match, then the operation ends. A stored operation that a kill cut short continues in the next process.
"""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from localcloud.arm import decisions
from localcloud.arm.cluster_request import ClusterRequest, tags_in
from localcloud.arm.errors import ArmError
from localcloud.arm.faults import FaultBook
from localcloud.arm.model import Cluster, Failure, Operation, OperationKind
from localcloud.arm.pool_request import PoolRequest
from localcloud.arm.store import ClusterStore

_log = logging.getLogger(__name__)


class ProvisioningError(Exception):
    """The infrastructure could not do what an operation needs; the operation fails with ``code`` and ``message``."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Infrastructure(Protocol):
    """Machines and control plane that follow the cluster. A stand-in for failing hardware may stand in front of one."""

    async def converge(self, cluster: Cluster) -> None:
        """Makes API server and machines match ``cluster``; idempotent. Raises `ProvisioningError`."""


@dataclass(frozen=True)
class Delays:
    """How long operations take before they have their effect, in seconds, and how long a new node takes to join."""

    start: float = 2.0
    stop: float = 1.0
    scale_up: float = 1.0
    scale_down: float = 0.5
    update: float = 0.0
    delete: float = 0.5
    abort: float = 0.0
    node_join: float = 0.5

    @classmethod
    def realistic(cls) -> "Delays":
        """What Azure takes, in the middle of what is usual: a GPU node from zero is ready after about 7 minutes."""
        return cls(
            start=240.0, stop=150.0, scale_up=330.0, scale_down=100.0, update=60.0, delete=300.0, abort=20.0, node_join=90.0
        )  # fmt: skip

    def of(self, kind: OperationKind, *, grows: bool) -> float:
        """Seconds before an operation has its effect."""
        match kind:
            case OperationKind.START:
                return self.start
            case OperationKind.STOP:
                return self.stop
            case OperationKind.CREATE_POOL | OperationKind.SCALE_POOL:
                return self.scale_up if grows else self.scale_down
            case OperationKind.DELETE:
                return self.delete
            case OperationKind.UPDATE:
                return self.update
            case OperationKind.ABORT:
                return self.abort


class ControlPlane:
    """The managed cluster: answers what it is, accepts operations, and carries them out in the background."""

    def __init__(self, store: ClusterStore, cluster: Cluster, delays: Delays, max_gpu_nodes: int) -> None:
        """Takes the stored cluster, or ``cluster`` where there is none yet."""
        self._store = store
        self._delays = delays
        self._max_gpu_nodes = max_gpu_nodes
        self._infrastructure: Infrastructure | None = None
        self.faults = FaultBook()
        self._work: asyncio.Task[None] | None = None
        self.cluster = store.load() or cluster
        self._store.save(self.cluster)

    async def run_on(self, infrastructure: Infrastructure) -> None:
        """Brings the infrastructure to the stored state and continues an operation that was under way."""
        self._infrastructure = _Failing(infrastructure)
        operation = self.cluster.running_operation
        if operation is None or operation.kind is not OperationKind.START:
            await infrastructure.converge(self.cluster)
        self._continue()

    async def close(self) -> None:
        """Stops working; an operation under way stays so in the store."""
        if self._work is not None:
            self._work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._work

    def start(self) -> Operation:
        """Accepts the start of the cluster. This and the following raise `ArmError` where ARM would refuse."""
        return self._accept(OperationKind.START, decisions.begin_start)

    def stop(self) -> Operation:
        """Accepts the stop of the cluster."""
        return self._accept(OperationKind.STOP, decisions.begin_stop)

    def abort(self, pool: str | None = None) -> Operation:
        """Accepts to abort the operation under way, or only one on that pool."""
        return self._accept(OperationKind.ABORT, decisions.begin_abort, pool=pool)

    def update(self, body: object) -> Operation:
        """Accepts a PUT on the cluster."""
        request = ClusterRequest(body)
        return self._accept(
            OperationKind.UPDATE, lambda cluster, operation: decisions.begin_update(cluster, request, operation)
        )

    def tag(self, body: object) -> Operation:
        """Accepts a PATCH, which replaces the cluster's tags."""
        tags = tags_in(body)
        return self._accept(
            OperationKind.UPDATE, lambda cluster, operation: decisions.begin_tags(cluster, tags, operation)
        )

    def delete(self) -> Operation:
        """Accepts the deletion of the cluster."""
        return self._accept(OperationKind.DELETE, decisions.begin_delete)

    def doom(self, operation: Operation, failure: Failure) -> None:
        """Lets the operation fail so when its time has come; also after a restart."""
        self._keep(self.cluster.with_operation(operation.model_copy(update={"will_fail": failure})))

    def put_pool(self, name: str, body: object, if_match: str | None) -> Operation:
        """Accepts the creation or change of a pool; ``if_match`` is the ETag it must have, if any."""
        pool = self.cluster.pools.get(name)
        if if_match not in (None, "*") and (pool is None or pool.etag != if_match):
            raise ArmError(412, "PreconditionFailed", f"The ETag of agent pool '{name}' is not '{if_match}'.")
        request = PoolRequest(name, body)
        wanted = request.applied_to(pool)
        return self._accept(
            decisions.kind_of_put(pool, request),
            lambda cluster, operation: decisions.begin_put_pool(cluster, request, operation, self._max_gpu_nodes),
            pool=name,
            grows=wanted.count > (len(pool.instances) if pool else 0),
        )

    def delete_pool(self, name: str) -> Operation:
        """Accepts the deletion of a pool."""
        return self._accept(OperationKind.DELETE, decisions.begin_delete_pool, pool=name)

    def _accept(
        self,
        kind: OperationKind,
        decide: Callable[[Cluster, Operation], Cluster],
        *,
        pool: str | None = None,
        grows: bool = False,
    ) -> Operation:
        now = datetime.now(UTC)
        due = now + timedelta(seconds=self._delays.of(kind, grows=grows))
        operation = Operation(id=str(uuid.uuid4()), kind=kind, pool=pool, started=now, due=due)
        self._keep(decide(self.cluster, operation))
        self._continue()
        return operation

    def _keep(self, cluster: Cluster) -> None:
        self._store.save(cluster)
        self.cluster = cluster

    def _continue(self) -> None:
        """Works on the stored operation, after the work of an aborted one has ended."""
        operation = self.cluster.running_operation
        if operation is None:
            return
        previous = self._work
        if previous is not None:
            previous.cancel()
        self._work = asyncio.create_task(self._carry_out(operation, previous), name=f"operation {operation.kind.value}")

    async def _carry_out(self, operation: Operation, previous: asyncio.Task[None] | None) -> None:
        if previous is not None:
            await asyncio.wait([previous])
        await asyncio.sleep(max(0.0, (operation.due - datetime.now(UTC)).total_seconds()))
        failure = await self._effect(operation)
        self._keep(decisions.ended(self.cluster, operation, datetime.now(UTC), failure))
        _log.info("%s %s ended: %s", operation.kind.value, operation.pool or "cluster", failure or "succeeded")

    async def _effect(self, operation: Operation) -> Failure | None:
        if self._infrastructure is None:
            raise RuntimeError("no infrastructure: run_on() comes first")
        wanted = decisions.effected(self.cluster, operation)
        try:
            await self._infrastructure.converge(wanted)
        except ProvisioningError as error:
            return Failure(code=error.code, message=error.message)
        except Exception:  # noqa: BLE001  (an operation ends, whatever happened; the log has the traceback)
            _log.exception("operation %s on %s", operation.kind.value, operation.pool or "cluster")
            return Failure(code="InternalOperationError", message="Internal server error; see the stand-in's log.")
        self._keep(wanted)
        return None


@dataclass(frozen=True)
class _Failing:
    """Infrastructure that fails where a fault was ordered for the operation under way, before anything has changed."""

    machines: Infrastructure

    async def converge(self, cluster: Cluster) -> None:
        operation = cluster.running_operation
        if operation is not None and operation.will_fail is not None:
            raise ProvisioningError(operation.will_fail.code, operation.will_fail.message)
        await self.machines.converge(cluster)
