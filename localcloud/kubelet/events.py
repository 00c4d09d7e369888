"""Records what happened to pods and nodes as Kubernetes Events; repeats count up instead of piling up."""

import asyncio
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import aiohttp

from localcloud.kubelet.api import KubernetesClient, KubernetesError, Object

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Happening:
    namespace: str
    involved: tuple[tuple[str, str], ...]
    kind: str
    reason: str
    message: str


class EventRecorder:
    """Writes events in the order they were recorded, in the background; an event that cannot be written is logged."""

    def __init__(self, client: KubernetesClient, component: str, host: str = "") -> None:
        self._client = client
        self._source = {"component": component, **({"host": host} if host else {})}
        self._queue: asyncio.Queue[_Happening] = asyncio.Queue()
        self._known: dict[_Happening, tuple[str, int]] = {}

    def record(
        self, subject: Object, kind: Literal["Normal", "Warning"], reason: str, message: str, container: str = ""
    ) -> None:
        """Records that ``reason`` happened to ``subject`` (an object with kind and metadata), or to its container."""
        metadata = subject["metadata"]
        namespace = metadata.get("namespace") or "default"
        involved = {
            "kind": subject["kind"],
            "apiVersion": subject.get("apiVersion", "v1"),
            "name": metadata["name"],
            "uid": metadata.get("uid", metadata["name"]),
        }
        if "namespace" in metadata:
            involved["namespace"] = namespace
        if container:
            involved["fieldPath"] = f"spec.containers{{{container}}}"
        self._queue.put_nowait(_Happening(namespace, tuple(involved.items()), kind, reason, message))

    async def run(self) -> None:
        """Writes until cancelled."""
        while True:
            happening = await self._queue.get()
            try:
                await self._write(happening)
            except (aiohttp.ClientError, TimeoutError, KubernetesError, ConnectionError) as error:
                _log.warning("event %s (%s) not written: %s", happening.reason, happening.message, error)
            finally:
                self._queue.task_done()

    async def flush(self, seconds: float) -> None:
        """Waits until all that was recorded is written, but not longer than ``seconds``."""
        try:
            await asyncio.wait_for(self._queue.join(), seconds)
        except TimeoutError:
            _log.warning("events still unwritten after %s s", seconds)

    async def _write(self, happening: _Happening) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        path = f"/api/v1/namespaces/{happening.namespace}/events"
        involved = dict(happening.involved)
        name, count = self._known.get(happening, (f"{involved['name']}.{time.time_ns():x}", 0))
        if count:
            try:
                await self._client.patch(f"{path}/{name}", {"count": count + 1, "lastTimestamp": now})
            except KubernetesError as error:
                if error.status != 404:  # expired: write it anew
                    raise
                count = 0
        if not count:
            await self._client.create(
                path,
                {
                    "apiVersion": "v1",
                    "kind": "Event",
                    "metadata": {"name": name, "namespace": happening.namespace},
                    "involvedObject": involved,
                    "type": happening.kind,
                    "reason": happening.reason,
                    "message": happening.message,
                    "source": self._source,
                    "reportingComponent": self._source["component"],
                    "reportingInstance": self._source.get("host", ""),
                    "firstTimestamp": now,
                    "lastTimestamp": now,
                    "count": 1,
                },
            )
        self._known[happening] = (name, count + 1)
