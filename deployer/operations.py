"""The long Azure operation under way, if any: looked at, and forgotten when it has ended; and those refused at once."""

from collections.abc import Iterator
from contextlib import contextmanager

from deployer.errors import AzureRefused
from deployer.ports import Clock, Cluster
from deployer.record import ClusterRecord
from deployer.state import State


def settle_operation(state: State, cluster: Cluster, clock: Clock) -> ClusterRecord:
    """The cluster's record, after an operation that has ended was taken out of it and its failure, if any, put in."""
    record = state.change_cluster(lambda before: before)
    operation = record.operation
    if operation is None:
        return record
    found = cluster.operation(operation.kind, operation.token)
    if found.running:
        return record
    failed = clock() if found.failure else None
    return state.change_cluster(
        lambda now: now.but(operation=None, failure=found.failure, failed=failed) if now.operation == operation else now
    )


@contextmanager
def refusals_noted(state: State, clock: Clock) -> Iterator[None]:
    """Around what begins an operation: if Azure refuses, that is the cluster's failure as if the operation had ended so.

    The error goes on. Whoever looks next reads the reason in the record, and waits before beginning again.
    """
    try:
        yield
    except AzureRefused as refused:
        now, told = clock(), refused.in_line
        state.change_cluster(lambda before: before.but(failure=told, failed=now))
        raise
