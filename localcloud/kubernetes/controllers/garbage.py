"""The garbage collector: objects whose owners are gone go too; owners that are deleted in the foreground wait for them."""

from collections.abc import Iterable

from localcloud.kubernetes.controllers.runtime import Controller
from localcloud.kubernetes.deletion import FOREGROUND, ORPHAN, ensure_deleted
from localcloud.kubernetes.objects import Object, clone, is_terminating, key_of, namespace_of, owners_of
from localcloud.kubernetes.resources import RESOURCES, Resource, resource_of
from localcloud.kubernetes.store import Change, Key


class GarbageCollector(Controller):
    """Looks at objects by uid: the first part of a key is the owner's, the second is its kind's name in the store."""

    def initial(self) -> Iterable[Key]:
        """Every owner that is named anywhere, and every object that is being deleted."""
        found: set[Key] = set()
        for resource in RESOURCES:
            for item in self.store.objects(resource):
                found.update((owner["uid"], "") for owner in owners_of(item))
                if is_terminating(item):
                    found.add((item["metadata"]["uid"], resource.key))
        return found

    def concerned(self, change: Change) -> Iterable[Key]:
        """An object that goes or is being deleted, and the owners of one that goes."""
        keys = []
        if change.kind == "DELETED" or is_terminating(change.item):
            keys.append((change.item["metadata"]["uid"], change.resource.key))
        if change.kind == "DELETED" or change.previous is not None:
            keys.extend((owner["uid"], "") for owner in owners_of(change.item) if self._is_waiting(change.item, owner))
        return keys

    def _is_waiting(self, item: Object, reference: Object) -> bool:
        resource = resource_of(reference)
        if resource is None:
            return False
        owner = self.store.get(resource, namespace_of(item) if resource.namespaced else "", reference["name"])
        return owner is None or is_terminating(owner)

    def reconcile(self, key: Key) -> float | None:
        """Handles the dependents of one owner."""
        uid = key[0]
        dependents = [
            (resource, item, owner)
            for resource in RESOURCES
            for item in self.store.objects(resource)
            for owner in owners_of(item)
            if owner["uid"] == uid
        ]
        owner = self._find(uid)
        if owner is None:
            for resource, item, _ in dependents:
                self._collect(resource, item, uid)
            return None
        kind, held = owner
        finalizers = held["metadata"].get("finalizers") or []
        if is_terminating(held) and ORPHAN in finalizers:
            for resource, item, _ in dependents:
                self._disown(resource, item, uid)
            self._finish(kind, held, ORPHAN)
        elif is_terminating(held) and FOREGROUND in finalizers:
            for resource, item, _ in dependents:
                if not is_terminating(item):
                    policy = "Foreground" if self._has_dependents(item) else None
                    ensure_deleted(self.registry, resource, item, policy=policy)
            if not any(reference.get("blockOwnerDeletion") and self._lives(r, i) for r, i, reference in dependents):
                self._finish(kind, held, FOREGROUND)
        return None

    def _find(self, uid: str) -> tuple[Resource, Object] | None:
        for resource in RESOURCES:
            for item in self.store.objects(resource):
                if item["metadata"]["uid"] == uid:
                    return resource, item
        return None

    def _lives(self, resource: Resource, item: Object) -> bool:
        return self.store.get(resource, *key_of(item)) is not None

    def _has_dependents(self, item: Object) -> bool:
        uid = item["metadata"]["uid"]
        return any(
            owner["uid"] == uid
            for resource in RESOURCES
            for other in self.store.objects(resource, namespace_of(item))
            for owner in owners_of(other)
        )

    def _collect(self, resource: Resource, item: Object, uid: str) -> None:
        others = [owner for owner in owners_of(item) if owner["uid"] != uid]
        if any(self._find(owner["uid"]) for owner in others):
            self._disown(resource, item, uid)
        elif not is_terminating(item):
            ensure_deleted(self.registry, resource, item, policy="Background")

    def _disown(self, resource: Resource, item: Object, uid: str) -> None:
        current = self.store.get(resource, *key_of(item))
        if current is None:
            return
        changed = clone(current)
        changed["metadata"]["ownerReferences"] = [owner for owner in owners_of(current) if owner["uid"] != uid]
        self.update(resource, changed)

    def _finish(self, resource: Resource, item: Object, finalizer: str) -> None:
        current = self.store.get(resource, *key_of(item))
        if current is None or finalizer not in (current["metadata"].get("finalizers") or []):
            return
        changed = clone(current)
        changed["metadata"]["finalizers"].remove(finalizer)
        self.update(resource, changed)
