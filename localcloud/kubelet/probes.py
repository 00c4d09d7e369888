"""Probes: when to ask, how to ask, and what the answers amount to.

`ProbeSpec` and `Tally` are pure; `ask` performs one probe.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from localcloud import process
from localcloud.kubelet.api import Object

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProbeSpec:
    """A probe of a container, with the API's defaults; times in seconds."""

    action: Object
    initial_delay: float = 0
    period: float = 10
    timeout: float = 1
    successes: int = 1
    failures: int = 3

    @classmethod
    def of(cls, probe: Object | None) -> "ProbeSpec | None":
        """Reads ``livenessProbe`` and its like."""
        if not probe:
            return None
        return cls(
            action=probe,
            initial_delay=probe.get("initialDelaySeconds") or 0,
            period=probe.get("periodSeconds") or 10,
            timeout=probe.get("timeoutSeconds") or 1,
            successes=probe.get("successThreshold") or 1,
            failures=probe.get("failureThreshold") or 3,
        )


@dataclass(frozen=True)
class Tally:
    """Counts answers; ``verdict`` changes when a threshold is reached. None: undecided yet."""

    spec: ProbeSpec
    verdict: bool | None = None
    in_a_row: int = 0
    last: bool | None = None

    def after(self, success: bool) -> "Tally":
        """The tally with one more answer."""
        run = self.in_a_row + 1 if success is self.last else 1
        reached = run >= (self.spec.successes if success else self.spec.failures)
        return Tally(self.spec, success if reached else self.verdict, run, success)


@dataclass(frozen=True)
class Target:
    """What a probe or hook acts on: the pod's address, the container's named ports, and how its commands run."""

    address: str
    ports: dict[str, int]
    log: Path
    environment: dict[str, str] = field(default_factory=dict)

    def port(self, given: int | str) -> int:
        """A port by number or by name. Raises `ValueError` for a name the container does not have."""
        if isinstance(given, int) or given.isdecimal():
            return int(given)
        if given not in self.ports:
            raise ValueError(f"couldn't find port: {given}")
        return self.ports[given]


async def ask(action: Object, target: Target, command: list[str] | None, timeout: float) -> str | None:  # noqa: ASYNC109
    """Performs one probe or hook. ``command`` is what an exec action runs here. Returns None, or why it failed."""
    try:
        async with asyncio.timeout(timeout):
            match action:
                case {"httpGet": http}:
                    return await _http(http, target)
                case {"tcpSocket": tcp}:
                    _, writer = await asyncio.open_connection(
                        tcp.get("host") or target.address, target.port(tcp["port"])
                    )
                    writer.close()
                    await writer.wait_closed()
                    return None
                case {"exec": _} if command is not None:
                    return await _run(command, target)
    except TimeoutError:
        return "context deadline exceeded" if "exec" not in action else f"command timed out after {timeout:g}s"
    except (OSError, aiohttp.ClientError, ValueError) as error:
        return str(error)
    return "this stand-in performs httpGet, tcpSocket and exec actions only"


async def _http(http: Object, target: Target) -> str | None:
    if http.get("scheme", "HTTP") != "HTTP":
        return "this stand-in probes plain http only"
    url = f"http://{http.get('host') or target.address}:{target.port(http['port'])}{http.get('path') or '/'}"
    headers = {"User-Agent": "kube-probe/1.36"} | {h["name"]: h["value"] for h in http.get("httpHeaders") or []}
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        if 200 <= response.status < 400:
            return None
        return f"HTTP probe failed with statuscode: {response.status}"


async def _run(command: list[str], target: Target) -> str | None:
    child = await process.spawn(command, log=target.log, env=target.environment)
    try:
        status = await child.wait()
    finally:
        if child.returncode is None:
            await process.stop(child, grace_seconds=0.1)
    return None if status == 0 else f"command exited with status {status}"
