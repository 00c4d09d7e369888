"""What ARM permits, and what each operation leads to. Pure; `ControlPlane` stores the results and performs them.

``begin_…`` take the cluster as it is and return it with the new operation under way, or raise `ArmError`.
`effected` gives the machines an operation leads to once its time has come, `ended` its outcome.
"""

from datetime import datetime

from localcloud.arm.cluster_request import ClusterRequest
from localcloud.arm.errors import ArmError, invalid, not_allowed, not_found
from localcloud.arm.model import Cluster, Failure, Mode, Operation, OperationKind, OperationStatus, Pool, Power
from localcloud.arm.pool_request import PoolRequest

_PENDING = "Please wait for it to finish before starting a new operation. See https://aka.ms/aks-pending-operation"


def begin_start(cluster: Cluster, operation: Operation) -> Cluster:
    """Starts a stopped cluster; starting a running one is an operation that changes nothing."""
    _refuse_while_busy(cluster)
    return _begin(cluster.model_copy(update={"power": Power.RUNNING}), operation)


def begin_stop(cluster: Cluster, operation: Operation) -> Cluster:
    """Stops a running cluster; while it is stopped, only start and delete are permitted."""
    _refuse_while_busy(cluster)
    _refuse_while_stopped(cluster, "Stop")
    return _begin(cluster, operation)


def begin_put_pool(cluster: Cluster, request: PoolRequest, operation: Operation, max_gpu_nodes: int) -> Cluster:
    """Creates or changes a pool to what ``request`` says; ``operation.kind`` comes from `kind_of_put`."""
    _refuse_while_busy(cluster)
    _refuse_while_stopped(cluster, "PutAgentPool")
    pool = request.applied_to(cluster.pools.get(request.name))
    if pool.mode is Mode.SYSTEM and pool.count < 1:
        raise invalid(
            f"The value of parameter agentPoolProfile.count is invalid: {pool.count}. "
            f"System pool '{pool.name}' needs at least 1 node; only User pools go to 0."
        )
    others = (each for each in cluster.pools.values() if each.name != pool.name)
    if pool.mode is Mode.USER and pool.count + sum(p.count for p in others if p.mode is Mode.USER) > max_gpu_nodes:
        raise ArmError(
            400,
            "ErrCode_InsufficientVCPUQuota",
            f"Insufficient vcpu quota requested for {pool.count} nodes of {pool.vm_size}: "
            f"user pools of this cluster may have {max_gpu_nodes} node(s) in all in region {cluster.location}.",
        )
    return _begin(cluster.with_pool(pool), operation)


def kind_of_put(pool: Pool | None, request: PoolRequest) -> OperationKind:
    """Whether a PUT creates, scales, or only updates the pool."""
    if pool is None:
        return OperationKind.CREATE_POOL
    changed = request.applied_to(pool)
    if (changed.count, changed.power) != (pool.count, pool.power):
        return OperationKind.SCALE_POOL
    return OperationKind.UPDATE


def begin_delete_pool(cluster: Cluster, operation: Operation) -> Cluster:
    """Deletes a User pool with its machines."""
    _refuse_while_busy(cluster)
    _refuse_while_stopped(cluster, "DeleteAgentPool")
    pool = _pool_of(cluster, operation)
    systems = [each for each in cluster.pools.values() if each.mode is Mode.SYSTEM]
    if pool.mode is Mode.SYSTEM and len(systems) == 1:
        raise invalid(f"There has to be at least one system pool: '{pool.name}' is the last.", "OperationNotAllowed")
    return _begin(cluster, operation)


def begin_update(cluster: Cluster, request: ClusterRequest, operation: Operation) -> Cluster:
    """Changes what can be changed of a running cluster."""
    _refuse_while_busy(cluster)
    _refuse_while_stopped(cluster, "PutManagedCluster")
    return _begin(request.applied_to(cluster), operation)


def begin_tags(cluster: Cluster, tags: dict[str, str], operation: Operation) -> Cluster:
    """Replaces the cluster's tags."""
    _refuse_while_busy(cluster)
    _refuse_while_stopped(cluster, "PatchManagedCluster")
    return _begin(cluster.model_copy(update={"tags": tags}), operation)


def begin_delete(cluster: Cluster, operation: Operation) -> Cluster:
    """Deletes the cluster with all its pools, running or stopped."""
    _refuse_while_busy(cluster)
    return _begin(cluster, operation)


def begin_abort(cluster: Cluster, operation: Operation) -> Cluster:
    """Cancels the operation under way; ``operation.pool`` is the pool whose operation it must be, if any."""
    running = cluster.running_operation
    if operation.pool is not None:
        _pool_of(cluster, operation)
    if running is None or (operation.pool is not None and running.pool != operation.pool):
        on = f" on agent pool '{operation.pool}'" if operation.pool else ""
        raise not_allowed(f"There is no operation in progress{on} that could be aborted.")
    canceled = running.model_copy(
        update={
            "status": OperationStatus.CANCELED,
            "ended": operation.started,
            "error": Failure(code="OperationPreempted", message="The operation was aborted by a later request."),
        }
    )
    if running.kind is OperationKind.START:
        cluster = cluster.model_copy(update={"power": Power.STOPPED})
    return _begin(_settled(cluster, canceled, "Canceled").with_operation(canceled), operation)


def effected(cluster: Cluster, operation: Operation) -> Cluster:
    """The cluster with the machines that ``operation`` leads to; not yet marked as ended."""
    match operation.kind:
        case OperationKind.STOP:
            return cluster.model_copy(update={"power": Power.STOPPED})
        case OperationKind.DELETE if operation.pool is None:
            return cluster.model_copy(update={"power": Power.STOPPED})
        case OperationKind.UPDATE if operation.pool is None:
            return cluster
        case OperationKind.CREATE_POOL | OperationKind.SCALE_POOL | OperationKind.UPDATE:
            return cluster.with_pool(with_machines(_pool_of(cluster, operation)))
        case OperationKind.DELETE:
            return cluster.with_pool(_pool_of(cluster, operation).model_copy(update={"instances": ()}))
        case OperationKind.START | OperationKind.ABORT:
            return cluster


def ended(cluster: Cluster, operation: Operation, now: datetime, failure: Failure | None) -> Cluster:
    """The cluster after ``operation`` has succeeded, or failed as ``failure`` says."""
    status = OperationStatus.FAILED if failure else OperationStatus.SUCCEEDED
    done = operation.model_copy(update={"status": status, "ended": now, "error": failure})
    match operation.kind:
        case OperationKind.DELETE if failure is None:
            gone = {"exists": False, "pools": {}}
            cluster = cluster.without_pool(operation.pool) if operation.pool else cluster.model_copy(update=gone)
        case OperationKind.START if failure is not None:
            cluster = cluster.model_copy(update={"power": Power.STOPPED})
        case _:
            pass
    if operation.kind is OperationKind.ABORT:
        return cluster.with_operation(done)  # the aborted operation has left its own mark
    return _settled(cluster, done, status.value).with_operation(done)


def with_machines(pool: Pool) -> Pool:
    """The pool with as many machines as it should have: new ones get new numbers, the newest go first."""
    wanted = pool.count if pool.power is Power.RUNNING else 0
    added = max(0, wanted - len(pool.instances))
    instances = (*pool.instances[:wanted], *range(pool.next_instance, pool.next_instance + added))
    return pool.model_copy(update={"instances": instances, "next_instance": pool.next_instance + added})


def _begin(cluster: Cluster, operation: Operation) -> Cluster:
    state = {"provisioning_state": operation.kind.value}
    if operation.kind is OperationKind.ABORT:
        return cluster.with_operation(operation)
    if operation.pool is not None:
        cluster = cluster.with_pool(cluster.pools[operation.pool].model_copy(update=state))
        state = {"provisioning_state": "Updating"}
    return cluster.model_copy(update=state).with_operation(operation)


def _settled(cluster: Cluster, operation: Operation, state: str) -> Cluster:
    """Shows ``state`` where the operation's own state stood; a pool that did not get there counts what it has."""
    if operation.pool is not None and operation.pool in cluster.pools:
        pool = cluster.pools[operation.pool].model_copy(update={"provisioning_state": state})
        if operation.status is not OperationStatus.SUCCEEDED and pool.power is Power.RUNNING:
            pool = pool.model_copy(update={"count": len(pool.instances)})
        cluster = cluster.with_pool(pool)
        state = "Succeeded"
    return cluster.model_copy(update={"provisioning_state": state})


def _pool_of(cluster: Cluster, operation: Operation) -> Pool:
    name = operation.pool or ""
    if name not in cluster.pools:
        raise not_found("managedClusters/agentPools", f"{cluster.name}/{name}", cluster.resource_group)
    return cluster.pools[name]


def _refuse_while_busy(cluster: Cluster) -> None:
    running = cluster.running_operation
    if running is not None:
        on = f"agent pool '{running.pool}'" if running.pool else f"cluster '{cluster.name}'"
        raise not_allowed(
            f"Operation is not allowed: another operation ({running.kind.value}) on {on} is in progress since "
            f"{running.started:%Y-%m-%dT%H:%M:%SZ}. {_PENDING}"
        )


def _refuse_while_stopped(cluster: Cluster, name: str) -> None:
    if cluster.power is Power.STOPPED:
        raise not_allowed(
            f"{name} operation is not allowed because cluster '{cluster.name}' is stopped: only start and delete are "
            "permitted. See https://aka.ms/aks/start-stop-cluster"
        )
