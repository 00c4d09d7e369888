"""Deployments: one ReplicaSet a revision of the pod template, scaled as ``deployment_plan`` says."""

from collections.abc import Iterable
from datetime import UTC, datetime

from localcloud.kubernetes.controllers.deployment_plan import (
    Counts,
    Replicas,
    Wanted,
    next_status,
    plan,
    seconds_to_deadline,
    with_condition,
)
from localcloud.kubernetes.controllers.events import record
from localcloud.kubernetes.controllers.runtime import Controller
from localcloud.kubernetes.deletion import ensure_deleted
from localcloud.kubernetes.objects import (
    Object,
    annotations_of,
    clone,
    condition,
    controller_key,
    controller_of,
    dig,
    is_controlled_by,
    is_terminating,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    owner_reference,
    template_hash,
)
from localcloud.kubernetes.registry import controller_write
from localcloud.kubernetes.resources import DEPLOYMENTS, PODS, REPLICA_SETS
from localcloud.kubernetes.selectors import match_labels
from localcloud.kubernetes.store import Change, Key

_REVISION = "deployment.kubernetes.io/revision"
_HISTORY = "deployment.kubernetes.io/revision-history"
_DESIRED = "deployment.kubernetes.io/desired-replicas"
_MAX = "deployment.kubernetes.io/max-replicas"
_NOT_COPIED = (_REVISION, _HISTORY, _DESIRED, _MAX, "kubectl.kubernetes.io/last-applied-configuration")
_HASH = "pod-template-hash"
_COMPONENT = "deployment-controller"
_SLACK_SECONDS = 1.0  # times of conditions are whole seconds


class DeploymentController(Controller):
    """Rolls Deployments out."""

    watched = DEPLOYMENTS

    def related(self, change: Change) -> Iterable[Key]:
        """The owner of a ReplicaSet, and the owner of a pod's ReplicaSet when the pod goes."""
        if change.resource is REPLICA_SETS:
            return self._owner(change.item)
        if change.resource is not PODS or change.kind != "DELETED":
            return []
        owners = (self.store.get(REPLICA_SETS, *key) for key in controller_key(change.item, "ReplicaSet"))
        return [key for owner in owners if owner is not None for key in self._owner(owner)]

    def _owner(self, replica_set: Object) -> list[Key]:
        if controller_of(replica_set) is not None:
            return controller_key(replica_set, "Deployment")
        candidates = self.store.objects(DEPLOYMENTS, namespace_of(replica_set))
        return [key_of(i) for i in candidates if match_labels(i["spec"]["selector"], labels_of(replica_set))]

    def reconcile(self, key: Key) -> float | None:
        """Takes the next step of one Deployment."""
        deployment = self.store.get(DEPLOYMENTS, *key)
        if deployment is None:
            return None
        owned = self._replica_sets(deployment)
        if is_terminating(deployment):
            return self._write_status(deployment, owned)
        deployment = self._mark_paused(deployment)
        paused = bool(deployment["spec"].get("paused"))
        new = _current(deployment, owned)
        old = [item for item in owned if new is None or name_of(item) != name_of(new)]
        sizes = plan(
            Wanted.of(deployment["spec"]), self._summary(new) if new else None,
            [self._summary(item) for item in old], paused=paused,
        )  # fmt: skip
        if "" in sizes:
            self._create(deployment, old, sizes.pop(""))
        elif new is not None and not paused:
            self._renew_revision(deployment, new, old)
        for item in owned:
            self._size(deployment, item, sizes.get(name_of(item)))
        deployment = self.registry.get(DEPLOYMENTS, *key)
        owned = self._replica_sets(deployment)
        delay = self._write_status(deployment, owned)
        self._forget_history(self.registry.get(DEPLOYMENTS, *key), owned)
        return delay

    def _replica_sets(self, deployment: Object) -> list[Object]:
        """The ReplicaSets it owns, oldest first; orphans that it selects are adopted."""
        owned = self.owned(REPLICA_SETS, deployment, lambda _: True)
        return sorted(owned, key=lambda item: (item["metadata"]["creationTimestamp"], name_of(item)))

    def _summary(self, item: Object) -> Replicas:
        pods = (pod for pod in self.store.objects(PODS, namespace_of(item)) if is_controlled_by(pod, item))
        lingering = any(pod["status"].get("phase") not in ("Succeeded", "Failed") for pod in pods)
        desired = annotations_of(item).get(_DESIRED)
        return Replicas(
            name=name_of(item),
            wanted=item["spec"].get("replicas", 0),
            available=dig(item, "status", "availableReplicas") or 0,
            pods=dig(item, "status", "replicas") or 0,
            desired_before=int(desired) if desired is not None else item["spec"].get("replicas", 0),
            lingering=lingering,
        )

    def _create(self, deployment: Object, old: list[Object], replicas: int) -> None:
        template = deployment["spec"]["template"]
        digest = template_hash(template)
        name = f"{name_of(deployment)}-{digest}"
        labels = {**(template["metadata"].get("labels") or {}), _HASH: digest}
        selector = clone(deployment["spec"]["selector"])
        selector.setdefault("matchLabels", {})[_HASH] = digest
        labelled = {**clone(template), "metadata": {**template["metadata"], "labels": labels}}
        revision = str(_next_revision(old))
        copied = {k: v for k, v in annotations_of(deployment).items() if k not in _NOT_COPIED}
        body: Object = {
            "apiVersion": REPLICA_SETS.api_version, "kind": REPLICA_SETS.kind,
            "metadata": {
                "name": name, "labels": labels, "ownerReferences": [owner_reference(deployment)],
                "annotations": {**copied, **_sizes(deployment), _REVISION: revision},
            },
            "spec": {"replicas": replicas, "selector": selector, "template": labelled},
        }  # fmt: skip
        if "minReadySeconds" in deployment["spec"]:
            body["spec"]["minReadySeconds"] = deployment["spec"]["minReadySeconds"]
        self.registry.create(REPLICA_SETS, namespace_of(deployment), body, controller_write())
        if replicas:
            self._tell(deployment, f"Scaled up replica set {name} from 0 to {replicas}")
        status = clone(deployment.get("status") or {})
        message = f'Created new replica set "{name}"'
        status["conditions"] = with_condition(
            status.get("conditions") or [], "Progressing", "True", "NewReplicaSetCreated", message, datetime.now(UTC)
        )
        self._write(deployment, status, {_REVISION: revision})

    def _renew_revision(self, deployment: Object, new: Object, old: list[Object]) -> None:
        """A ReplicaSet that is used again, after a return to an old template, becomes the latest revision."""
        present, latest = _revision(new), _next_revision(old)
        if present < latest:
            annotations = dict(annotations_of(new))
            history = [*filter(None, annotations.get(_HISTORY, "").split(",")), str(present)]
            annotations |= {_REVISION: str(latest), _HISTORY: ",".join(history)}
            self._annotate(new, annotations)
        revision = str(max(present, latest))
        if annotations_of(deployment).get(_REVISION) != revision:
            self._write(deployment, deployment.get("status") or {}, {_REVISION: revision})

    def _size(self, deployment: Object, item: Object, size: int | None) -> None:
        current = self.registry.get(REPLICA_SETS, *key_of(item))
        before = current["spec"].get("replicas", 0)
        active = before > 0 or size is not None
        annotations = {**annotations_of(current), **(_sizes(deployment) if active else {})}
        if item is _current(deployment, [item]):
            annotations |= {k: v for k, v in annotations_of(deployment).items() if k not in _NOT_COPIED}
        size = before if size is None else size
        if size == before and annotations == annotations_of(current):
            return
        changed = clone(current)
        changed["spec"]["replicas"] = size
        changed["metadata"]["annotations"] = annotations
        self.update(REPLICA_SETS, changed)
        if size != before:
            direction = "up" if size > before else "down"
            self._tell(deployment, f"Scaled {direction} replica set {name_of(item)} from {before} to {size}")

    def _annotate(self, item: Object, annotations: dict[str, str]) -> None:
        changed = clone(item)
        changed["metadata"]["annotations"] = annotations
        self.update(REPLICA_SETS, changed)

    def _tell(self, deployment: Object, message: str) -> None:
        record(self.registry, deployment, "Normal", "ScalingReplicaSet", message, _COMPONENT)

    def _mark_paused(self, deployment: Object) -> Object:
        progressing = condition(deployment, "Progressing")
        paused = bool(deployment["spec"].get("paused"))
        reason = progressing["reason"] if progressing else ""
        if reason == "ProgressDeadlineExceeded" or paused == (reason == "DeploymentPaused"):
            return deployment
        status = clone(deployment.get("status") or {})
        verb = "Paused" if paused else "Resumed"
        status["conditions"] = with_condition(
            status.get("conditions") or [], "Progressing", "Unknown", f"Deployment{verb}",
            f"Deployment is {verb.lower()}", datetime.now(UTC),
        )  # fmt: skip
        return self._write(deployment, status, {})

    def _write_status(self, deployment: Object, owned: list[Object]) -> float | None:
        new = _current(deployment, owned)
        now = datetime.now(UTC)

        def total(field: str) -> int:
            return sum(dig(item, "status", field) or 0 for item in owned)

        counts = Counts(
            asked=sum(item["spec"].get("replicas", 0) for item in owned),
            replicas=total("replicas"),
            updated=(dig(new, "status", "replicas") or 0) if new else 0,
            ready=total("readyReplicas"),
            available=total("availableReplicas"),
            terminating=total("terminatingReplicas"),
        )
        status = next_status(deployment, counts, name_of(new) if new else None, now)
        deployment = self._write(deployment, status, {})
        progressing = condition(deployment, "Progressing")
        if progressing and progressing["reason"] in ("ReplicaSetUpdated", "NewReplicaSetCreated"):
            return max(0.0, seconds_to_deadline(deployment, progressing, now)) + _SLACK_SECONDS
        return None

    def _write(self, deployment: Object, status: Object, annotations: dict[str, str]) -> Object:
        changed = clone(deployment)
        changed["status"] = status
        if annotations:
            changed["metadata"].setdefault("annotations", {}).update(annotations)
        changed["metadata"].pop("resourceVersion", None)
        return self.update(DEPLOYMENTS, changed, "status")

    def _forget_history(self, deployment: Object, owned: list[Object]) -> None:
        progressing = condition(deployment, "Progressing")
        if progressing is None or progressing["reason"] != "NewReplicaSetAvailable":
            return
        new = _current(deployment, owned)
        idle = [
            item
            for item in owned
            if item is not new and not item["spec"].get("replicas") and not dig(item, "status", "replicas")
        ]
        excess = len(idle) - deployment["spec"].get("revisionHistoryLimit", 10)
        for item in sorted(idle, key=_revision)[: max(0, excess)]:
            ensure_deleted(self.registry, REPLICA_SETS, item)


def _current(deployment: Object, owned: list[Object]) -> Object | None:
    """The ReplicaSet of the Deployment's present template."""
    digest = template_hash(deployment["spec"]["template"])
    return next((item for item in owned if labels_of(item).get(_HASH) == digest), None)


def _revision(item: Object) -> int:
    return int(annotations_of(item).get(_REVISION, "0"))


def _next_revision(old: list[Object]) -> int:
    return max(map(_revision, old), default=0) + 1


def _sizes(deployment: Object) -> dict[str, str]:
    wanted = Wanted.of(deployment["spec"])
    return {_DESIRED: str(wanted.replicas), _MAX: str(wanted.replicas + wanted.max_surge)}
