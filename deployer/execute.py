"""Performs the steps that ``deployer.plan`` decides. Decides nothing: each step is done as it says, and may be done twice."""

from dataclasses import dataclass
from datetime import datetime

from deployer.errors import Unavailable
from deployer.operations import begin_wake
from deployer.ports import Clock, Cluster, ModelServer, ServableStore, UploadStore, Workloads
from deployer.proving import difference
from deployer.publishing import unpublish
from deployer.record import (
    Canary,
    ClusterRecord,
    ModelRecord,
    RolloutStatus,
    Route,
    wake_deepened,
    wake_ended,
)
from deployer.retention import going
from deployer.state import State
from deployer.steps import (
    Apply,
    AwaitCanary,
    AwaitCluster,
    AwaitPods,
    AwaitRestart,
    EndTrial,
    Forget,
    Prove,
    Retire,
    RollBack,
    Settled,
    Step,
    Switch,
    Try,
    WakeCluster,
)
from deployer.tags import tag_upload
from deployer.templates import Templates
from deployer.wake_stages import spent


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
            case WakeCluster():
                self._wake(record, step)
                return False
            case Apply(version, replicas):
                self._apply(record, version, replicas)
                return True
            case Prove(version, address):
                return self._prove(record, version, address)
            case Try(version, address, share):
                self._try(record, Canary(version=version, address=address, share=share))
                return True
            case EndTrial(version):
                self._end_trial(record, version)
                return True
            case Switch(version, address, why):
                self._switch(record, version, address, why)
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
            case Forget(versions):
                self._forget(record, versions)
                return True
            case Settled():
                tag_upload(self.uploads, record)
                return True
            case AwaitCluster() | AwaitRestart() | AwaitPods() | AwaitCanary():
                return False

    def _wake(self, record: ModelRecord, step: WakeCluster) -> None:
        now, rung = self.clock(), "stopped" if step.start else "pool"
        begin_wake(
            self.state, self.cluster, step, by=record.name, why="its rollout needs the cluster", now=now,
            noting=lambda before: wake_deepened(before, record.name, rung, now),
        )  # fmt: skip

    def _apply(self, record: ModelRecord, version: int, replicas: int) -> None:
        if replicas == 0:
            self.workloads.scale(record.name, version, 0)
            return
        self.workloads.apply(self.templates.version(record.name, record.version(version), replicas))

    def _prove(self, record: ModelRecord, version: int, address: str) -> bool:
        """Compares the served golden outputs with those recorded at conversion; a difference gives the version up."""
        manifest = self.servables.read(f"{record.name}/{version}/servable.json")
        if manifest is None:
            gone = f"servables/{record.name}/{version}/servable.json is gone"
            hint = "Published versions must not be changed; upload the model anew, with another file name."
            self._roll_back(record, RollBack(version, record.fallback(version), gone, hint, blame=True))
            return True
        try:
            told = difference(self.server, address, record.name, version, manifest.data)
        except Unavailable as error:
            # Ready a moment ago; its Service may lag behind. The plan looks again, within its bound.
            self._say(record.name, version, f"the golden request was not answered: {error.message}")
            return False
        if told is not None:
            reason = f"it answers otherwise than at its conversion ({told})"
            hint = "The model server's build or hardware computes differently; see the servable's servable.json."
            self._roll_back(record, RollBack(version, record.fallback(version), reason, hint, blame=True))
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

    def _try(self, record: ModelRecord, canary: Canary) -> None:
        """Begins a trial: a share of the requests goes to the version, and is counted from now on."""
        now = self.clock()
        self.state.forget_figures(record.name)

        def tried(before: ModelRecord) -> ModelRecord:
            route, status = before.route, before.rollout
            if before.desired != canary.version or route is None or status is None or status.version != canary.version:
                return before  # superseded or asleep meanwhile: the next look decides anew
            after = before.but(route=route.but(canary=canary), rollout=status.but(trial=status.trial or now))
            if route.canary is not None:
                return after
            return after.noting(now, "rollout", f"v{canary.version} on trial", f"{canary.share:g} % of the requests")

        self.state.change(record.name, tried)

    def _end_trial(self, record: ModelRecord, version: int) -> None:
        now = self.clock()

        def ended(before: ModelRecord) -> ModelRecord:
            if before.route is None or before.route.canary is None or before.route.canary.version != version:
                return before
            after = before.but(route=before.route.but(canary=None), served=now)
            return after.noting(now, "rollout", f"v{version} no longer on trial", "another version is wanted")

        self.state.change(record.name, ended)

    def _forget(self, record: ModelRecord, versions: tuple[int, ...]) -> None:
        """Marks versions as going, removes their files, and says that they are gone: in this order, each safe to repeat.

        Nothing goes back to a version that is marked, and without ``saved_model.pb``, which goes first, none is taken for whole.
        """
        marked = self.state.change(record.name, lambda before: going(before, versions))
        gone = [item.version for item in marked.versions if item.version in versions and item.state == "deleting"]
        for version in gone:
            unpublish(self.servables, record.name, version)
        now = self.clock()

        def forgotten(before: ModelRecord) -> ModelRecord:
            after = before
            for item in before.versions:
                if item.version in gone and item.state == "deleting":
                    after = after.with_version(item.but(state="deleted"))
                    after = after.noting(now, "rollout", f"servable of v{item.version} deleted", "keep_versions")
            return after

        self.state.change(record.name, forgotten)

    def _switch(self, record: ModelRecord, version: int, address: str, why: str) -> None:
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
                after = after.noting(self.clock(), "rollout", f"requests go to v{version}", why)
            return after.but(setback=None)

        on_gpu = record.version(version).serve.gpus > 0
        self.state.change_cluster(lambda before: _given(_woken(before, record, self.clock()), on_gpu=on_gpu))
        after = self.state.change(record.name, switched)
        if after.route is None or after.route.version != version:
            return
        self.workloads.apply(self.templates.stable(record.name, version))
        tag_upload(self.uploads, after)

    def _roll_back(self, record: ModelRecord, step: RollBack) -> None:
        now = self.clock()
        route = record.route
        tried = route is not None and route.canary is not None and route.canary.version == step.version

        def back(before: ModelRecord) -> ModelRecord:
            if before.desired != step.version:
                return before
            failed = before.version(step.version)
            after = before.but(desired=step.to, rollout=_way_back(step.to, now))
            what = f"v{step.version} given up, back to {'nothing' if step.to is None else f'v{step.to}'}"
            if after.route is not None and after.route.canary is not None:
                after = after.but(route=after.route.but(canary=None), served=now)
            if step.blame:
                after = after.with_version(failed.but(state="failed", reason=step.reason, hint=step.hint))
            elif step.to is None:  # no compute, and nothing to go back to: sleep until somebody asks again
                after = after.but(desired=step.version, asleep=True, route=None, changed_rung=now)
                what = f"v{step.version} sleeps, and is tried again when it is asked for"
            else:
                after = after.with_version(failed.but(reason=step.reason, hint=step.hint))
            if after.upload is not None and after.upload.version == step.version:
                upload = after.upload.but(state="failed", stage="rollout", reason=step.reason, hint=step.hint)
                after = after.but(upload=upload)
            return after.noting(now, "rollout", what, step.reason)

        after = self.state.change(record.name, back)
        tag_upload(self.uploads, after)
        self.state.change_cluster(lambda before: wake_ended(before, record.name, now, serves=False).but(refused=()))
        if not tried:  # else its requests are to end first: the plan retires it after a while
            self.workloads.delete_version(record.name, step.version)  # last: the cluster may be what does not answer


def _woken(before: ClusterRecord, model: ModelRecord, now: datetime) -> ClusterRecord:
    """The record after a model's wake, with the time that each stage took."""
    wake, status = before.wakes.get(model.name), model.rollout
    stages = spent(status.reached, wake.started, now) if wake is not None and status is not None else {}
    return wake_ended(before, model.name, now, stages=stages)


def _given(record: ClusterRecord, *, on_gpu: bool) -> ClusterRecord:
    """The record after the cluster gave what a model needs: failures before that are over, told or not."""
    return record.but(failure=None, failed=None, again=None, refused=()) if on_gpu else record


def _way_back(to: int | None, now: datetime) -> RolloutStatus | None:
    """The rollout of the version that is gone back to: it may have given its place, so it is looked after until it serves."""
    if to is None:
        return None
    return RolloutStatus(
        version=to, started=now, step="Apply", since=now, looked=now, message=f"back to v{to}", back=True
    )
