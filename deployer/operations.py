"""The long Azure operation under way, if any: looked at, and forgotten when it has ended; and those refused at once.

A pool that gets no nodes for lack of quota or capacity is noted, so that the plan tries the next.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from deployer.errors import AzureRefused
from deployer.ports import Clock, Cluster
from deployer.record import Cause, ClusterRecord, Operation
from deployer.state import State
from deployer.steps import WakeCluster

_NO_NODES = ("azure_quota", "azure_capacity")
_WAITED_OUT = (*_NO_NODES, "azure_throttled", "azure_busy")


def settle_operation(state: State, cluster: Cluster, clock: Clock) -> ClusterRecord:
    """The cluster's record, after an operation that has ended was taken out of it and its failure, if any, put in."""
    record = state.change_cluster(lambda before: before)
    operation = record.operation
    if operation is None:
        return record
    found = cluster.operation(operation.kind, operation.token, operation.pool)
    if found.running:
        return record
    at = clock()
    still_stopped = found.failure is not None and operation.kind == "start" and cluster.state().power == "Stopped"

    def ended(now: ClusterRecord) -> ClusterRecord:
        if now.operation != operation:
            return now
        after = now.but(operation=None)
        if found.failure is None:
            grown = operation.kind == "pool"
            return after.but(failure=None, failed=None, again=None, refused=() if grown else now.refused)
        if still_stopped:
            after = after.but(rung="stopped", slept=operation.slept)
        return _failed(after, found.failure, at, operation.pool, None)

    return state.change_cluster(ended)


@contextmanager
def refusals_noted(state: State, clock: Clock, pool: str | None = None) -> Iterator[None]:
    """Around what begins an operation: if Azure refuses, that is the cluster's failure as if the operation had ended so.

    The error goes on. Whoever looks next reads the reason in the record, and waits before beginning again. ``pool``: the one
    that was to be given nodes.
    """
    try:
        yield
    except AzureRefused as refused:
        now, told, wait = clock(), refused.in_line, refused.retry_after
        state.change_cluster(lambda before: _failed(before, told, now, pool, wait))
        raise


def begin_wake(
    state: State, cluster: Cluster, step: WakeCluster, *, by: str, why: str, now: datetime,
    noting: Callable[[ClusterRecord], ClusterRecord] = lambda record: record,
) -> None:  # fmt: skip
    """Starts the cluster or gives its pool nodes, for a model's sake, and writes that down; ``noting``: what else."""
    token = cluster.begin_start() if step.start else cluster.begin_pool(step.nodes, step.pool)
    operation = Operation(kind="start", started=now, token=token, by=by)
    if not step.start:
        operation = operation.but(kind="pool", target=step.nodes, pool=step.pool)
    cause = Cause(by=f"model {by}", why=why, at=now)
    state.change_cluster(
        lambda before: noting(before).but(
            operation=operation.but(slept=before.slept) if step.start else operation, rung=None, slept=None, woke=now,
            cause=before.cause if before.wakes else cause,
            refused=() if step.pool in before.refused else before.refused,  # all were: another round
        )
    )  # fmt: skip


def waited_out(refused: AzureRefused) -> bool:
    """Whether time alone, or another pool, may heal it: then nothing is gained by failing the call."""
    return refused.code in _WAITED_OUT or refused.retry_after is not None


def _failed(
    record: ClusterRecord, failure: str, now: datetime, pool: str | None, retry_after: float | None
) -> ClusterRecord:
    after = record.but(failure=failure, failed=now, again=None)
    if pool is not None and failure.startswith(_NO_NODES):
        others = tuple(name for name in record.refused if name != pool)
        return after.but(refused=(*others, pool), again=now)
    return after if retry_after is None else after.but(again=now + timedelta(seconds=retry_after))
