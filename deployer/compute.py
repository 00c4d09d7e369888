"""What a rollout waits for before anything of its model can run: the cluster, and nodes with GPUs. Pure; part of the plan."""

from datetime import datetime, timedelta

from deployer.record import ModelRecord, VersionRecord
from deployer.steps import AwaitCluster, AwaitRestart, ClusterView, RollBack, RolloutPolicy, Step, WakeCluster

_AFTER_FAILURE = timedelta(minutes=1)  # what failed is begun again after this time, unless Azure named another


def compute_first(
    record: ModelRecord, target: VersionRecord, cluster: ClusterView, policy: RolloutPolicy, now: datetime
) -> Step | None:
    """The step by which the target comes to a cluster that runs and has a node for it; None where it has."""
    state = cluster.state
    stopped = state.power == "Stopped"
    no_pool = target.serve.gpus > 0 and state.pool_count == 0
    ours = state.pool_count is not None  # else nodes may come because a pod waits for one: none is waited for before
    no_node = target.serve.gpus > 0 and ours and (cluster.nodes is None or cluster.nodes.ready == 0)
    leaving = cluster.leaving == "cluster" or (cluster.leaving == "pool" and target.serve.gpus > 0)
    if not (stopped or no_pool or no_node or leaving or cluster.nodes is None):
        return None
    waited = record.waited({"WakeCluster", "AwaitCluster"}, now)
    if waited > policy.cluster_limit:
        lacking = "gave no compute" if ours else "did not answer"
        return RollBack(
            target.version, without_compute(record, target),
            cluster.failure or f"the cluster {lacking} within {waited.total_seconds():.0f} s",
            "See the cluster's activity log on Azure: quota, capacity and permissions are the usual causes."
            if ours else "Its Kubernetes API must be reached at the address in SLIPWAY_CLUSTER__KUBECONFIG.", blame=False,
        )  # fmt: skip
    if leaving and not state.busy:
        return AwaitCluster(
            f"the {'GPU pool' if cluster.leaving == 'pool' else 'cluster'} is going to sleep", "teardown"
        )
    if state.busy:
        doing = f"the cluster is {state.provisioning.lower()}"
        if leaving:
            return AwaitCluster(doing, "teardown")
        return AwaitCluster(doing, "cluster" if state.provisioning == "Starting" else "gpu-pool")
    left = tuple(pool for pool in policy.pools if pool not in cluster.refused)
    pool = left[0] if left else policy.pools[0]
    if cluster.failure and _wait(cluster, now, all_refused=not left):
        return AwaitCluster(cluster.failure, "cluster" if stopped else "gpu-pool")
    if stopped:
        if cluster.slept is not None and now < (due := cluster.slept + policy.restart_gap):
            gap = policy.restart_gap.total_seconds() / 60
            return AwaitRestart(
                f"the cluster was stopped at {cluster.slept:%H:%M} UTC, and Azure wants {gap:g} min before its start: it is "
                f"started at {due:%H:%M} UTC", due,
            )  # fmt: skip
        return WakeCluster(start=True, nodes=policy.gpu_nodes, pool=pool)
    if no_pool or (no_node and cluster.failure):
        return WakeCluster(start=False, nodes=policy.gpu_nodes, pool=pool)
    if cluster.nodes is None:
        return AwaitCluster("the Kubernetes API does not answer yet", "cluster")
    return AwaitCluster("a GPU node is joining", "gpu-node")


def without_compute(record: ModelRecord, target: VersionRecord) -> int | None:
    """What to go to where there is no compute for a version, which is no fault of its: what serves, or served before on CPU.

    None: a version before it would get no GPU either, so the model sleeps, and its next request tries anew.
    """
    if record.route is not None and record.route.version != target.version:
        return record.route.version
    back = record.fallback(target.version)
    return (
        back if back is not None and record.has(back) and record.version(back).serve.gpus < target.serve.gpus else None
    )


def _wait(cluster: ClusterView, now: datetime, *, all_refused: bool) -> bool:
    """Whether what failed is to be left alone for a while: as long as Azure asked for, else for a minute.

    Where a pool got no nodes, the next is tried at once.
    """
    if cluster.again is not None and not all_refused:
        return now < cluster.again
    return cluster.failed is not None and now - cluster.failed < _AFTER_FAILURE
