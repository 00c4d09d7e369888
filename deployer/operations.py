"""The long Azure operation under way, if any: looked at, and forgotten when it has ended."""

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
