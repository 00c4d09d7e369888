"""How a controller runs: woken by changes, level-triggered, one object at a time, idle when nothing happens."""

import abc
import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import ClassVar

from localcloud.kubernetes.controllers.events import record
from localcloud.kubernetes.errors import ApiError
from localcloud.kubernetes.objects import (
    Object,
    clone,
    controller_of,
    is_controlled_by,
    is_terminating,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    owner_reference,
)
from localcloud.kubernetes.registry import Registry, controller_write
from localcloud.kubernetes.resources import PODS, Resource
from localcloud.kubernetes.selectors import match_labels
from localcloud.kubernetes.store import Change, Key

_log = logging.getLogger(__name__)
_FIRST_RETRY_SECONDS = 0.05
_LAST_RETRY_SECONDS = 30.0


class Controller(abc.ABC):
    """Drives objects of one kind towards what they say they should be."""

    watched: ClassVar[Resource]
    """The kind; its objects' namespaces and names are the keys."""
    manager = "kube-controller-manager"
    """The name that it writes under."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.store = registry.store

    def initial(self) -> Iterable[Key]:
        """Returns the keys to look at when the controller starts: all objects of the kind."""
        return [key_of(item) for item in self.store.objects(self.watched)]

    def concerned(self, change: Change) -> Iterable[Key]:
        """Returns the keys that a change may concern."""
        return [key_of(change.item)] if change.resource is self.watched else self.related(change)

    def related(self, change: Change) -> Iterable[Key]:
        """Returns the keys that a change of another kind's object may concern."""
        return []

    @abc.abstractmethod
    def reconcile(self, key: Key) -> float | None:
        """Takes one step for an object, if one is due. Returns the seconds after which to look again by itself."""

    def update(self, resource: Resource, item: Object, subresource: str = "") -> Object:
        """Writes a changed object. Raises ApiError."""
        return self.registry.update(resource, *key_of(item), item, controller_write(self.manager, subresource))

    def owned(self, resource: Resource, owner: Object, adoptable: Callable[[Object], bool]) -> list[Object]:
        """Returns what an owner controls; what it selects and nobody controls is adopted, unless the owner is ending."""
        found = []
        for item in self.store.objects(resource, namespace_of(owner)):
            if is_controlled_by(item, owner):
                found.append(item)
            elif (
                controller_of(item) is None
                and not is_terminating(owner)
                and not is_terminating(item)
                and adoptable(item)
                and match_labels(owner["spec"]["selector"], labels_of(item))
            ):
                adopted = clone(item)
                adopted["metadata"].setdefault("ownerReferences", []).append(owner_reference(owner))
                found.append(self.update(resource, adopted))
        return found

    def create_pod(self, owner: Object, component: str) -> Object:
        """Creates a pod from its owner's template, and an event about it. Raises ApiError."""
        template = clone(owner["spec"]["template"])
        metadata = {
            **template["metadata"], "generateName": f"{name_of(owner)}-", "ownerReferences": [owner_reference(owner)],
        }  # fmt: skip
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        pod = self.registry.create(PODS, namespace_of(owner), body, controller_write(self.manager))
        record(self.registry, owner, "Normal", "SuccessfulCreate", f"Created pod: {name_of(pod)}", component)
        return pod

    def update_status(self, resource: Resource, item: Object, status: Object) -> Object:
        """Writes an object's status. Raises ApiError."""
        return self.update(resource, {**item, "status": status}, "status")


class Loop:
    """Runs one controller as a task."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._due: dict[Key, None] = {}
        self._wake = asyncio.Event()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._unsubscribe = controller.store.subscribe(self._on_change)
        for key in controller.initial():
            self._add(key)
        self._task = asyncio.create_task(self._run(), name=type(controller).__name__)

    async def stop(self) -> None:
        """Stops the task and its timers."""
        self._unsubscribe()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        for timer in self._timers.values():
            timer.cancel()

    def _on_change(self, change: Change) -> None:
        for key in self._controller.concerned(change):
            self._add(key)

    def _add(self, key: Key) -> None:
        self._due[key] = None
        self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._due:
                key = next(iter(self._due))
                del self._due[key]
                self._step(key)
                await asyncio.sleep(0)

    def _step(self, key: Key) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        delay: float | None
        try:
            delay = self._controller.reconcile(key)
            self._failures.pop(key, None)
        except ApiError as error:
            _log.info("%s %s: %s", type(self._controller).__name__, "/".join(key), error)
            delay = self._back_off(key)
        except Exception:  # noqa: BLE001  (logged; one object that cannot be handled must not end the controller)
            _log.exception("%s failed on %s", type(self._controller).__name__, "/".join(key))
            delay = self._back_off(key)
        if delay is not None:
            self._timers[key] = asyncio.get_running_loop().call_later(delay, self._add, key)

    def _back_off(self, key: Key) -> float:
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        return min(_FIRST_RETRY_SECONDS * 2.0**failures, _LAST_RETRY_SECONDS)
