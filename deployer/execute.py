"""Performs the steps that ``deployer.plan`` decides. Decides nothing: each step is done as it says, and may be done twice."""

import json
from dataclasses import dataclass
from datetime import datetime

from deployer.errors import Unavailable
from deployer.golden import differs
from deployer.plan import Apply, AwaitCluster, AwaitPods, Prove, Retire, RollBack, Settled, Step, Switch, WakeCluster
from deployer.ports import Clock, Cluster, ModelServer, ServableStore, UploadStore, Workloads
from deployer.record import Cause, ModelRecord, Operation, RolloutStatus, Route, Wake, noted_wake
from deployer.state import State
from deployer.tags import tag_upload
from deployer.templates import Templates


@dataclass(frozen=True)
class Executor:
    """Performs one step with the adapters it was given."""

    state: State
    cluster: Cluster
    workloads: Workloads
    servables: ServableStore
    uploads: UploadStore
    server: ModelServer
    templates: Templates
    clock: Clock

    def perform(self, record: ModelRecord, step: Step) -> bool:
        """Performs the step on the model whose record this is; tells whether the next may follow at once, or must wait."""
        match step:
            case WakeCluster(start, nodes):
                self._wake(record, start=start, nodes=nodes)
                return False
            case Apply(version, replicas):
                self._apply(record, version, replicas)
                return True
            case Prove(version, address):
                return self._prove(record, version, address)
            case Switch(version, address):
                self._switch(record, version, address)
                return True
            case RollBack():
                self._roll_back(record, step)
                return True
            case Retire(versions, due):
                if self.clock() < due:
                    return False
                for version in versions:
                    self.workloads.delete_version(record.name, version)
                return True
            case Settled():
                tag_upload(self.uploads, record)
                return True
            case AwaitCluster() | AwaitPods():
                return False

    def _wake(self, record: ModelRecord, *, start: bool, nodes: int) -> None:
        now = self.clock()
        token = self.cluster.begin_start() if start else self.cluster.begin_pool(nodes)
        operation = Operation(
            kind="start" if start else "pool", started=now, token=token, target=None if start else nodes, by=record.name
        )
        wake = Wake(started=now, rung="stopped" if start else "pool", by=record.name)
        cause = Cause(by=f"model {record.name}", why="its rollout needs the cluster", at=now)
        self.state.change_cluster(
            lambda before: before.but(
                operation=operation, rung=None, slept=None, woke=now, wake=_whole(before.wake, wake),
                cause=before.cause if before.wake else cause,
            )
        )  # fmt: skip

    def _apply(self, record: ModelRecord, version: int, replicas: int) -> None:
        if replicas == 0:
            self.workloads.scale(record.name, version, 0)
            return
        self.workloads.apply(self.templates.version(record.name, record.version(version), replicas))

    def _prove(self, record: ModelRecord, version: int, address: str) -> bool:
        """Compares the served golden outputs with those recorded at conversion; a difference gives the version up.

        A servable without golden predictions (its outputs are random, say) is proven by having been loaded.
        """
        manifest = self.servables.read(f"{record.name}/{version}/servable.json")
        if manifest is None:
            gone = f"servables/{record.name}/{version}/servable.json is gone"
            hint = "Published versions must not be changed; upload the model anew, with another file name."
            self._roll_back(record, RollBack(version, record.fallback(version), gone, hint, blame=True))
            return True
        for golden in json.loads(manifest.data)["golden"]:
            try:
                outputs = self.server.predict(address, record.name, version, golden["signature"], golden["inputs"])
            except Unavailable as error:
                # Ready a moment ago; its Service may lag behind. The plan looks again, within its bound.
                self._say(record.name, version, f"the golden request was not answered: {error.message}")
                return False
            if (
                difference := differs(golden["outputs"], outputs, rtol=golden["rtol"], atol=golden["atol"])
            ) is not None:
                self._roll_back(
                    record,
                    RollBack(
                        version, record.fallback(version),
                        f"it answers otherwise than at its conversion ({golden['signature']}: {difference})",
                        "The model server's build or hardware computes differently; see the servable's servable.json.",
                        blame=True,
                    ),
                )  # fmt: skip
                return True
        self.state.change(
            record.name,
            lambda before: (
                before.but(rollout=before.rollout.but(proven=True))
                if before.rollout and before.rollout.version == version
                else before
            ),
        )
        return True

    def _say(self, model: str, version: int, message: str) -> None:
        self.state.change(
            model,
            lambda before: (
                before.but(rollout=before.rollout.but(message=message, unanswered=before.rollout.unanswered + 1))
                if before.rollout and before.rollout.version == version
                else before
            ),
        )

    def _switch(self, record: ModelRecord, version: int, address: str) -> None:
        def switched(before: ModelRecord) -> ModelRecord:
            if before.desired != version or before.asleep:  # superseded meanwhile: the next look decides anew
                return before
            after = before.but(
                route=Route(version=version, address=address), previous=before.fallback(version), served=self.clock()
            )
            for item in before.versions:
                state = "serving" if item.version == version else "retired" if item.state == "serving" else item.state
                after = after.with_version(item.but(state=state))
            if after.upload is not None and after.upload.version == version:
                after = after.but(upload=after.upload.but(state="serving", stage=None, reason=None, hint=None))
            if before.route is None or before.route.version != version:
                after = after.noting(self.clock(), "rollout", f"requests go to v{version}", "it proved itself")
            return after.but(setback=None)

        self.state.change_cluster(lambda before: noted_wake(before, self.clock()))
        after = self.state.change(record.name, switched)
        if after.route is None or after.route.version != version:
            return
        self.workloads.apply(self.templates.stable(record.name, version))
        tag_upload(self.uploads, after)

    def _roll_back(self, record: ModelRecord, step: RollBack) -> None:
        now = self.clock()

        def back(before: ModelRecord) -> ModelRecord:
            if before.desired != step.version:
                return before
            failed = before.version(step.version)
            after = before.but(desired=step.to, rollout=_way_back(step.to, now))
            if step.blame:
                after = after.with_version(failed.but(state="failed", reason=step.reason, hint=step.hint))
            elif step.to is None:  # no compute, and nothing to go back to: sleep until somebody asks again
                after = after.but(desired=step.version, asleep=True, route=None, changed_rung=now)
            if after.upload is not None and after.upload.version == step.version:
                upload = after.upload.but(state="failed", stage="rollout", reason=step.reason, hint=step.hint)
                after = after.but(upload=upload)
            to = "nothing" if step.to is None else f"v{step.to}"
            return after.noting(now, "rollout", f"v{step.version} given up, back to {to}", step.reason)

        after = self.state.change(record.name, back)
        tag_upload(self.uploads, after)
        self.state.change_cluster(lambda before: before.but(wake=None))
        self.workloads.delete_version(record.name, step.version)  # last: the cluster may be what does not answer


def _way_back(to: int | None, now: datetime) -> RolloutStatus | None:
    """The rollout of the version that is gone back to: it may have given its place, so it is looked after until it serves."""
    if to is None:
        return None
    return RolloutStatus(version=to, started=now, step="Apply", since=now, looked=now, message=f"back to v{to}")


def _whole(under_way: Wake | None, new: Wake) -> Wake:
    """The wake as callers feel it: from when it was first asked for, and from the lowest rung it starts at."""
    if under_way is None:
        return new
    rungs = ("pods", "pool", "stopped")
    return under_way.but(rung=max(under_way.rung, new.rung, key=rungs.index))
