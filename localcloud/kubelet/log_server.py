"""The kubelet's own HTTP server, which the API server asks for container logs."""

from collections.abc import Callable

from aiohttp import web

from localcloud.kubelet.container import Container
from localcloud.kubelet.logs import follow, tail

PORT = 10250


class LogServer:
    """``GET /containerLogs/NAMESPACE/POD/CONTAINER`` with tailLines, limitBytes, follow and previous."""

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
        place = request.match_info
        container = self._find(place["namespace"], place["pod"], place["container"])
        if container is None:
            return web.Response(status=404, text=f'pod "{place["pod"]}" is not on this node\n')
        lines, limit = (
            int(request.query[key]) if key in request.query else None for key in ("tailLines", "limitBytes")
        )
        run = container.record.restarts
        if request.query.get("previous") == "true":
            if container.record.last is None or run == 0:
                name = f"{place['container']!r} in pod {place['pod']!r}"
                return web.Response(status=400, text=f"previous terminated container {name} not found")
            run -= 1
        path = container.logs.path(run)
        if request.query.get("follow") != "true":
            return web.Response(body=tail(path, lines)[:limit], content_type="text/plain")
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        async for chunk in follow(path, lines, lambda: container.running and container.record.restarts == run):
            if chunk:
                await response.write(chunk)
        await response.write_eof()
        return response
