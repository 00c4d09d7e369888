"""Probes: when to ask, how to ask, and what the answers amount to.

`ProbeSpec` and `Tally` are pure; `ask` performs one probe or hook. Messages are worded as the kubelet's.
"""

import asyncio
import contextlib
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from localcloud import process
from localcloud.kubelet.api import Object
from localcloud.kubelet.mounts import Mounts

_OUTPUT = 10 * 1024  # bytes of an exec probe's output that are kept


@dataclass(frozen=True)
class ProbeSpec:
    """A probe of a container, with the API's defaults; times in seconds."""

    action: Object
    initial_delay: float = 0
    period: float = 10
    timeout: float = 1
    successes: int = 1
    failures: int = 3
    grace: float | None = None
    """Instead of the pod's termination grace period, where this probe has the container killed."""

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
            grace=probe.get("terminationGracePeriodSeconds"),
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


class ProbeError(Exception):
    """The probe could not be made: neither a success nor a failure, and not counted."""


@dataclass(frozen=True)
class Target:
    """What a probe or hook acts on: the pod's address, the container's named ports, and how its commands run."""

    address: str
    ports: dict[str, int]
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path | None = None
    mounts: Mounts = field(default_factory=Mounts)

    def port(self, given: int | str) -> int:
        """A port by number or by name. Raises `ProbeError` for a name the container does not have."""
        if isinstance(given, int) or given.isdecimal():
            return int(given)
        if given not in self.ports:
            raise ProbeError(f"couldn't find port: {given}")
        return self.ports[given]


async def ask(action: Object, target: Target, command: list[str] | None, timeout: float) -> str | None:  # noqa: ASYNC109
    """Performs one probe or hook. ``command`` is what an exec action runs here. Returns None, or why it failed.

    Raises:
        ProbeError: it could not be performed at all.
    """
    match action:
        case {"httpGet": http}:
            return await _http(http, target, timeout)
        case {"tcpSocket": tcp}:
            return await _tcp(tcp.get("host") or target.address, target.port(tcp["port"]), timeout)
        case {"exec": _} if command is not None:
            return await _run(command, " ".join(action["exec"]["command"]), target, timeout)
    raise ProbeError("this stand-in performs httpGet, tcpSocket and exec actions only")


async def _tcp(host: str, port: int, limit: float) -> str | None:
    try:
        async with asyncio.timeout(limit):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return f"dial tcp {host}:{port}: i/o timeout"
    except OSError as error:
        return _dialled(host, port, error)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return None


def _dialled(host: str, port: int, error: OSError) -> str:
    reason = os.strerror(error.errno).lower() if error.errno else str(error)
    return f"dial tcp {host}:{port}: connect: {reason}"


async def _http(http: Object, target: Target, limit: float) -> str | None:
    scheme = str(http.get("scheme") or "HTTP").lower()
    host, port = http.get("host") or target.address, target.port(http["port"])
    path = http.get("path") or "/"
    url = f"{scheme}://{host}:{port}{path if path.startswith('/') else '/' + path}"
    headers = {"User-Agent": "kube-probe/1.36", "Accept": "*/*"}
    headers |= {header["name"]: header["value"] for header in http.get("httpHeaders") or []}
    whole = aiohttp.ClientTimeout(total=limit)
    connector = aiohttp.TCPConnector(ssl=False, force_close=True)  # a probe's certificate is not verified
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=whole) as session,
            session.get(url, headers=headers) as response,
        ):
            await response.content.read(_OUTPUT)  # an answer counts once its body comes
            status = response.status
    except TimeoutError:
        return f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
    except aiohttp.ClientConnectorError as error:
        return f'Get "{url}": {_dialled(host, port, error.os_error)}'
    except aiohttp.ServerDisconnectedError:
        return f'Get "{url}": EOF'
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return f'Get "{url}": {error}'
    return None if 200 <= status < 400 else f"HTTP probe failed with statuscode: {status}"


async def _run(command: list[str], asked: str, target: Target, limit: float) -> str | None:
    """Runs a command beside the container; its output says why it failed."""
    with tempfile.TemporaryFile() as output:
        try:
            child = await process.spawn(command, log=output, env=target.environment, cwd=target.folder)
        except OSError as error:
            raise ProbeError(f"failed to exec in container: {error}") from error
        try:
            async with asyncio.timeout(limit):
                status = await child.wait()
        except TimeoutError:
            return f'command timed out: "{asked}" timed out after {limit:g}s'
        finally:
            if child.returncode is None:
                await process.kill(child)
        if status == 0:
            return None
        output.seek(0)
        return target.mounts.in_container(output.read(_OUTPUT).decode(errors="replace"))
