"""Persistent volumes and claims: bound to each other, released, and held while in use."""

from collections.abc import Iterable
from decimal import Decimal

from localcloud.kubernetes.controllers.runtime import Controller
from localcloud.kubernetes.objects import Object, clone, dig, is_terminating, name_of, namespace_of, timestamp
from localcloud.kubernetes.quantities import parse_quantity
from localcloud.kubernetes.resources import CLAIMS, PODS, VOLUMES, Resource
from localcloud.kubernetes.store import Change, Key

_PV_PROTECTION = "kubernetes.io/pv-protection"
_PVC_PROTECTION = "kubernetes.io/pvc-protection"
_BOUND = "pv.kubernetes.io/bind-completed"
_BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
_EVERYTHING: list[Key] = [("", "")]


class VolumeController(Controller):
    """Binds claims to volumes. There are few of both, so each change looks at all of them."""

    def initial(self) -> Iterable[Key]:
        """One key stands for all volumes and claims."""
        return _EVERYTHING

    def concerned(self, change: Change) -> Iterable[Key]:
        """Every change of a volume or a claim, and the end of a pod, which may have held a claim."""
        if change.resource in (VOLUMES, CLAIMS):
            return _EVERYTHING
        return _EVERYTHING if change.resource is PODS and change.kind == "DELETED" else []

    def reconcile(self, key: Key) -> float | None:
        """Brings all volumes and claims one step further."""
        for volume in self.store.objects(VOLUMES):
            self._volume(volume)
        for claim in self.store.objects(CLAIMS):
            self._claim(claim)
        return None

    def _volume(self, volume: Object) -> None:
        reference = volume["spec"].get("claimRef")
        claim = self.store.get(CLAIMS, reference.get("namespace", ""), reference["name"]) if reference else None
        uid = (reference or {}).get("uid")
        held = claim is not None and uid in (None, claim["metadata"]["uid"])
        if reference is None or (not held and not uid):
            phase = "Available"
        elif not held:
            phase = "Released"
        else:
            phase = "Bound" if uid else dig(volume, "status", "phase") or "Pending"
            if phase == "Pending":
                phase = "Available"
        self._set_volume_phase(volume, phase)
        current = self.store.get(VOLUMES, "", name_of(volume))
        if current is not None and is_terminating(current) and phase != "Bound":
            self._release(VOLUMES, current, _PV_PROTECTION)

    def _set_volume_phase(self, volume: Object, phase: str) -> None:
        if dig(volume, "status", "phase") == phase:
            return
        moved = {"phase": phase, "lastPhaseTransitionTime": timestamp()}
        self.update_status(VOLUMES, volume, {**volume.get("status", {}), **moved})

    def _claim(self, claim: Object) -> None:
        if is_terminating(claim):
            if not self._is_used(claim):
                self._release(CLAIMS, claim, _PVC_PROTECTION)
            return
        if dig(claim, "status", "phase") == "Bound":
            return
        volume = self._volume_for(claim)
        if volume is not None:
            self._bind(claim, volume)

    def _volume_for(self, claim: Object) -> Object | None:
        wanted = claim["spec"].get("volumeName")
        candidates = [
            volume
            for volume in self.store.objects(VOLUMES)
            if not is_terminating(volume) and _fits(claim, volume) and wanted in (None, "", name_of(volume))
        ]
        candidates.sort(key=lambda volume: (not _is_meant_for(volume, claim), _capacity(volume)))
        return candidates[0] if candidates else None

    def _bind(self, claim: Object, volume: Object) -> None:
        chosen = not claim["spec"].get("volumeName")
        bound = clone(volume)
        reference = bound["spec"].setdefault("claimRef", {})
        if not reference:
            bound["metadata"].setdefault("annotations", {})[_BOUND_BY_CONTROLLER] = "yes"
        reference |= {
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace_of(claim),
            "name": name_of(claim), "uid": claim["metadata"]["uid"],
            "resourceVersion": claim["metadata"]["resourceVersion"],
        }  # fmt: skip
        self._set_volume_phase(self.update(VOLUMES, bound), "Bound")
        taken = clone(claim)
        annotations = taken["metadata"].setdefault("annotations", {})
        annotations[_BOUND] = "yes"
        if chosen:
            annotations[_BOUND_BY_CONTROLLER] = "yes"
            taken["spec"]["volumeName"] = name_of(volume)
        granted: Object = {
            field: volume["spec"].get(field) or empty for field, empty in (("accessModes", []), ("capacity", {}))
        }
        self.update_status(CLAIMS, self.update(CLAIMS, taken), {"phase": "Bound", **granted})

    def _is_used(self, claim: Object) -> bool:
        return any(
            dig(volume, "persistentVolumeClaim", "claimName") == name_of(claim)
            for pod in self.store.objects(PODS, namespace_of(claim))
            if pod["spec"].get("nodeName") and pod["status"].get("phase") not in ("Succeeded", "Failed")
            for volume in pod["spec"].get("volumes") or []
        )

    def _release(self, resource: Resource, item: Object, finalizer: str) -> None:
        if finalizer not in (item["metadata"].get("finalizers") or []):
            return
        changed = clone(item)
        changed["metadata"]["finalizers"].remove(finalizer)
        self.update(resource, changed)


def _is_meant_for(volume: Object, claim: Object) -> bool:
    reference = volume["spec"].get("claimRef") or {}
    return (reference.get("namespace"), reference.get("name")) == (namespace_of(claim), name_of(claim))


def _fits(claim: Object, volume: Object) -> bool:
    reference = volume["spec"].get("claimRef")
    if reference and not (_is_meant_for(volume, claim) and reference.get("uid") in (None, claim["metadata"]["uid"])):
        return False
    modes = set(claim["spec"].get("accessModes") or [])
    return (
        (claim["spec"].get("storageClassName") or "") == (volume["spec"].get("storageClassName") or "")
        and modes <= set(volume["spec"].get("accessModes") or [])
        and _capacity(volume) >= parse_quantity(dig(claim, "spec", "resources", "requests", "storage") or "0")
    )


def _capacity(volume: Object) -> Decimal:
    return parse_quantity(dig(volume, "spec", "capacity", "storage") or "0")
