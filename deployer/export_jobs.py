"""Use case: a conversion that does not fit the function runs as a Kubernetes Job; this is what the function does of it.

    record: converting, job → cluster runs → Job applied → looked at, again and again → the record has ended, or the Job failed

What the Job's process does stands in ``deployer.handed_over``: the attempt itself, to its end in the record. So what is looked
at here is only what that process cannot say: that it cannot begin, or was killed. No function waits for a Job. The Job's name is
in the record before the Job is, and applying it again changes nothing, so a look that was cut short is made good by the next.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from deployer import upload_record
from deployer.compute import compute_first
from deployer.errors import CloudRefused, ClusterUnreachable, SlipwayError, Unavailable
from deployer.job_failures import JobFailure, told
from deployer.operations import begin_wake, refusals_noted, settle_operation
from deployer.options import ServeOptions
from deployer.ports import Clock, Cluster, Documents, JobState, Nodes, PodFailure, Workloads
from deployer.record import ClusterRecord, ModelRecord, VersionRecord
from deployer.resolution import Upload
from deployer.state import State
from deployer.steps import AwaitCluster, AwaitRestart, ClusterView, RolloutPolicy, Step, WakeCluster
from deployer.telemetry import logger

log = logger(__name__)

Where = Literal["function", "job", "auto"]
Render = Callable[[str, str, str], Sequence[Mapping[str, Any]]]

_NO_CLUSTER = "'slipway doctor' and GET /api/cluster tell what is the matter with it."


@dataclass(frozen=True)
class JobPolicy:
    """``above``: bytes of an upload from which ``auto`` means a Job; ``deadline``: of a Job, from its making on."""

    where: Where
    above: int
    deadline: timedelta
    look_again_seconds: int


@dataclass(frozen=True)
class _Waits:
    """What the Job waits for: the cluster, or something in it."""

    what: str
    for_cluster: bool = False


@dataclass(frozen=True)
class ExportJobs:
    """Conversions as Jobs. ``render`` gives the objects for a model, the stem of its upload, and the Job's name."""

    state: State
    documents: Documents
    cluster: Cluster
    workloads: Workloads
    render: Render
    policy: JobPolicy
    compute: RolloutPolicy
    clock: Clock

    def wanted(self, upload: Upload) -> bool:
        """Whether the upload is for a Job."""
        match self.policy.where:
            case "function":
                return False
            case "job":
                return True
            case "auto":
                return sum(blob.size for blob in upload.blobs) > self.policy.above

    def look(self, upload: Upload, record: ModelRecord) -> JobFailure | None:
        """One look at the upload's Job, which is made if it is not there; why it failed, if it did.

        To be called under the upload's lease, with the record as it is since: the Job's process, which takes the same lease,
        has then not begun, or is no more.
        """
        status = record.upload
        if status is None or status.job is None:
            return None
        job, begun = status.job, status.stage != upload_record.JOB
        try:
            found = self._compute(record.name, job) or self._job(upload, job, begun=begun)
        except (ClusterUnreachable, CloudRefused) as refused:
            found = _Waits(f"{refused.message} {refused.hint}".strip(), for_cluster=True)
        if isinstance(found, _Waits) and found.for_cluster and self.clock() - status.at > self.compute.cluster_limit:
            why = self.state.cluster().failure or found.what
            found = JobFailure("job_no_cluster", f"No cluster took the conversion's Job: {why}", _NO_CLUSTER)
        if isinstance(found, JobFailure):
            self.over(job)
            return found
        reason = found.what if found is not None else None
        self.state.change(record.name, lambda before: upload_record.kept_waiting(before, upload, job, reason))
        return None

    def drop(self, job: str) -> None:
        """Deletes a Job that is not wanted any more. Where it cannot be, its process finds that out, or its deadline ends it."""
        try:
            self.workloads.delete_job(job)
        except Unavailable as error:
            log.warning("the Job %s is not wanted, and was not deleted: %s", job, error.message)
        self.over(job)

    def over(self, job: str) -> None:
        """The Job needs the cluster no more."""
        self.state.change_cluster(lambda before: before.without_export(job))

    def _compute(self, model: str, job: str) -> _Waits | None:
        """Keeps the cluster for the Job, and starts it if it is stopped; what there is to wait for until it runs.

        Both under the cluster's lease, which rollouts and the idle ladder take as well: nothing is ordered of Azure twice, and
        the cluster is not stopped by a decision that did not see the Job.
        """
        known = settle_operation(self.state, self.cluster, self.clock)
        if job in known.exports and not isinstance(step := self._first(model, known), WakeCluster):
            return _waits(step)
        with self.documents.lease("cluster") as held:
            if held is None:
                return _Waits("another instance is at the cluster", for_cluster=True)
            now = self.clock()
            known = settle_operation(self.state, self.cluster, self.clock)
            if job not in known.exports:
                until = now + self.compute.cluster_limit + self.policy.deadline
                known = self.state.change_cluster(
                    lambda before: before.but(exports=before.exporting(now) | {job: until})
                )
            step = self._first(model, known)
            if not isinstance(step, WakeCluster):
                return _waits(step)
            held.check()
            with refusals_noted(self.state, self.clock):
                begin_wake(self.state, self.cluster, step, by=model, why="its conversion needs the cluster", now=now)
            return _Waits("the cluster is starting", for_cluster=True)

    def _first(self, model: str, known: ClusterRecord) -> Step | None:
        """The step by which the cluster comes to run; None where it does."""
        now, state = self.clock(), self.cluster.state()
        # Whether the API answers is found out by asking it; the Job takes no GPU, so no node need be looked at.
        view = ClusterView(
            state, Nodes(0, 0, 0), known.failure, known.failed, known.again, known.refused,
            known.slept if known.rung == "stopped" else None, known.leaving,
        )  # fmt: skip
        on_cpu = VersionRecord(version=0, identity="", state="publishing", created=now, serve=ServeOptions(gpus=0))
        return compute_first(ModelRecord(name=model, updated=now), on_cpu, view, self.compute, now)

    def _job(self, upload: Upload, job: str, *, begun: bool) -> _Waits | JobFailure | None:
        """The Job, made if it is not there: what its pod waits for, or why it failed."""
        match self.workloads.job(job):
            case None if begun:
                return JobFailure("job_gone", f"The conversion's Job {job} was deleted.", "It is tried again.")
            case None:
                try:
                    manifests = self.render(upload.model, upload.stem, job)
                except SlipwayError as missing:  # a setting
                    return JobFailure(missing.code, missing.message, missing.hint)
                self.workloads.apply(manifests)
                return None
            case JobState("succeeded"):
                return JobFailure(
                    "job_failed", f"The conversion's Job {job} ended without a result.", "It is tried again."
                )
            case JobState("failed", failure):
                return told(failure, job)
            case JobState("active", PodFailure(fatal=True) as failure):
                self.workloads.delete_job(job)
                return told(failure, job)
            case JobState("active", PodFailure() as failure) if not begun:
                return _Waits(told(failure, job).reason)
            case _:
                return None


def _waits(step: Step | None) -> _Waits | None:
    """What the Job waits for, if this comes first."""
    match step:
        case None:
            return None
        case AwaitCluster(message) | AwaitRestart(message):
            return _Waits(message, for_cluster=True)
        case _:
            raise AssertionError(f"{step} is no step before a Job")
