"""The kubelet's own HTTP server, which the API server asks for container logs."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from aiohttp import web

from localcloud.kubelet.container import Container
from localcloud.kubelet.container_state import Running, Terminated, Waiting
from localcloud.kubelet.logs import View, follow, read

PORT = 10250
_PULLING = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName")


class LogServer:
    """``GET /containerLogs/NAMESPACE/POD/CONTAINER`` with the options of ``pods/NAME/log``."""

    def __init__(self, find: Callable[[str, str, str], Container | None]) -> None:
        self._find = find
        self._runner: web.AppRunner | None = None

    async def start(self, address: str) -> None:
        """Listens on the node's address."""
        app = web.Application()
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, address, PORT).start()

    async def stop(self) -> None:
        """Stops listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        place, query = request.match_info, request.query
        container = self._find(place["namespace"], place["pod"], place["container"])
        if container is None:
            return web.Response(status=404, text=f'pod "{place["pod"]}" is not on this node\n')
        try:
            view = _view(query, datetime.now(UTC))
        except ValueError as error:
            return web.Response(status=400, text=str(error))
        run = _run(container, previous=query.get("previous") == "true")
        if isinstance(run, str):
            return web.Response(status=400, text=f"{run.format(container=place['container'], pod=place['pod'])}")
        limit = int(query["limitBytes"]) if "limitBytes" in query else None
        path = container.logs.path(run)
        if query.get("follow") != "true":
            return web.Response(body=read(path, view)[:limit], content_type="text/plain")
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        async for chunk in follow(path, view, lambda: container.running and container.record.restarts == run):
            if chunk:
                await response.write(chunk[:limit])
            if limit is not None and (limit := limit - len(chunk)) <= 0:
                break
        await response.write_eof()
        return response


def _view(query: Mapping[str, str], now: datetime) -> View:
    """Raises ValueError for a time that is none."""
    since = datetime.fromisoformat(query["sinceTime"]) if "sinceTime" in query else None
    if "sinceSeconds" in query:
        since = now - timedelta(seconds=int(query["sinceSeconds"]))
    lines = int(query["tailLines"]) if "tailLines" in query else None
    return View(lines, since, query.get("timestamps") == "true")


def _run(container: Container, *, previous: bool) -> int | str:
    """The run whose log is asked for; a text where there is none, as the kubelet words it."""
    record = container.record
    match record.state:
        case _ if previous and record.last is None:
            return 'previous terminated container "{container}" in pod "{pod}" not found'
        case Waiting() if record.last is not None:
            return record.restarts
        case Waiting(reason=reason):
            why = "trying and failing to pull image" if reason in _PULLING else reason
            return f'container "{{container}}" in pod "{{pod}}" is waiting to start: {why}'
        case Running() | Terminated():
            return record.restarts - 1 if previous else record.restarts
