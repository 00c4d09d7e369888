"""The HTTP trigger: routing, keys, limits, and the way from a request to a function and back.

The path of a request is kept short, as this is what a proxying function is measured by: aiohttp's low-level server, no
middleware, no copy of the body, one task.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import azure.functions as func
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest
from azure.functions.http import HttpRequest
from multidict import CIMultiDict

from localcloud.functions_host import event_grid
from localcloud.functions_host.blob_trigger import BlobMessage
from localcloud.functions_host.cors import Cors
from localcloud.functions_host.errors import InvocationError
from localcloud.functions_host.host_json import HttpOptions
from localcloud.functions_host.keys import HostSecrets
from localcloud.functions_host.routing import Route, RouteTable
from localcloud.functions_host.triggers import AuthLevel, Function
from localcloud.functions_host.worker import Worker, log_for

logger = logging.getLogger(__name__)

MAX_BODY = 210 * 1024 * 1024  # Azure's limit for a request
_NO_KEYS: frozenset[str] = frozenset()
_HOP_BY_HOP = frozenset({"connection", "content-length", "keep-alive", "transfer-encoding", "upgrade"})
_GATEWAY_TIMEOUT = b"HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

Enqueue = Callable[[BlobMessage], Awaitable[None]]
RunNow = Callable[[str], bool]


class HttpFrontEnd:
    """Answers every request. ``limit_seconds``: Azure's 230 s, when the client gets a 504 and the function goes on."""

    def __init__(
        self,
        functions: Sequence[Function],
        options: HttpOptions,
        keys: HostSecrets,
        worker: Worker,
        *,
        limit_seconds: float,
        enqueue: Enqueue,
        run_now: RunNow,
        cors: Cors | None,
    ) -> None:
        self._routes = RouteTable(options.route_prefix, functions)
        self._keys = keys
        self._allowed: dict[AuthLevel, frozenset[str]] = {
            "anonymous": _NO_KEYS,
            "function": frozenset({keys.default, keys.master}),
            "admin": frozenset({keys.master}),
        }
        self._worker = worker
        self._limit_seconds = limit_seconds
        self._max_outstanding = options.max_outstanding_requests
        concurrent = options.max_concurrent_requests
        self._concurrency = None if concurrent is None else asyncio.Semaphore(concurrent)
        self._outstanding = 0
        self._enqueue = enqueue
        self._run_now = run_now
        self._cors = cors

    async def serve(self, port: int, *, shutdown_seconds: float) -> tuple[web.ServerRunner, int]:
        """Listens on loopback; ``port`` 0 takes a free one. Gives the runner, to be cleaned up, and the port."""
        # aiohttp waits for handlers twice in a row, each time for as long as it is told.
        # Compressed bodies reach the function as they are, as on Azure.
        handle = self._handle if self._cors is None else self._cors.around(self._handle)
        server = web.Server(handle, request_factory=_make_request, access_log=None, auto_decompress=False)
        runner = web.ServerRunner(server, shutdown_timeout=shutdown_seconds / 2)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        return runner, int(runner.addresses[0][1])

    async def _handle(self, request: BaseRequest) -> web.StreamResponse:
        found = self._routes.find(request.method, request.rel_url.raw_path)
        if found is None:
            return await self._handle_own(request)
        route, route_values = found
        level = route.trigger.auth_level
        if level != "anonymous" and (key := _key(request)) not in self._allowed[level]:
            return _unauthorized(key)
        if self._max_outstanding is not None and self._outstanding >= self._max_outstanding:
            return _empty(429)
        self._outstanding += 1
        try:
            if self._concurrency is None:
                return await self._run(request, route, route_values)
            async with self._concurrency:
                return await self._run(request, route, route_values)
        finally:
            self._outstanding -= 1

    async def _run(self, request: BaseRequest, route: Route, route_values: dict[str, str]) -> web.StreamResponse:
        try:
            body = await _body(request)
        except web.HTTPRequestEntityTooLarge:
            return _empty(413)
        argument = HttpRequest(
            method=request.method,
            url=f"{request.scheme}://{request.host}{request.raw_path}",
            headers=_joined(request.headers.items()),
            params=_joined(request.query.items()) if request.query_string else {},
            route_params=route_values,
            body_type="bytes",
            body=body,
        )
        task = asyncio.current_task()
        expiry = asyncio.get_running_loop().call_later(self._limit_seconds, self._expire, request, route.function, task)
        try:
            result = await self._worker.call(route.function, argument)
        except InvocationError:
            return _empty(500)
        finally:
            expiry.cancel()
        try:
            return _response(result)
        except TypeError:
            log_for(route.function).exception("Functions.%s returned what is no HTTP response.", route.function.name)
            return _empty(500)

    def _expire(self, request: BaseRequest, function: Function, task: "asyncio.Task[Any] | None") -> None:
        """Answers for a function that takes too long, as Azure's front end does; the function itself goes on."""
        log_for(function).error("No answer after %s s; the client gets a 504.", self._limit_seconds)
        if request.transport is not None:
            request.transport.write(_GATEWAY_TIMEOUT)
            request.transport.close()
        if task is not None and self._worker.timeout is not None:
            left = max(0.0, self._worker.timeout - self._limit_seconds)
            asyncio.get_running_loop().call_later(left, task.cancel)

    async def _handle_own(self, request: BaseRequest) -> web.StreamResponse:
        """The host's own addresses; anything else is a 404."""
        path = request.rel_url.raw_path.rstrip("/").lower()
        match request.method, path:
            case "GET", "":
                return web.Response(text="The local Functions host is up and running.\n")
            case "GET" | "POST", "/admin/host/ping":
                return _empty(200)
            case "GET", "/admin/host/status":
                status = json.dumps({"id": self._keys.host_id, "state": "Running", "version": "4.0.0-local"})
                return self._if_admin(request, web.Response(text=status, content_type="application/json"))
            case "POST", "/runtime/webhooks/blobs":
                return await self._webhook(request)
            case "POST", invoked if invoked.startswith("/admin/functions/"):
                return self._invoke_timer(request, invoked.removeprefix("/admin/functions/"))
            case _:
                return _empty(404)

    def _if_admin(self, request: BaseRequest, response: web.Response) -> web.Response:
        return response if _key(request) == self._keys.master else _empty(401)

    def _invoke_timer(self, request: BaseRequest, name: str) -> web.Response:
        if _key(request) != self._keys.master:
            return _empty(401)
        return _empty(202 if self._run_now(name) else 404)

    async def _webhook(self, request: BaseRequest) -> web.Response:
        if _key(request) not in {self._keys.blobs_extension, self._keys.master}:
            return _empty(401)
        function_id = request.query.get("functionName", "")
        try:
            body = await _body(request)
            match request.headers.get("aeg-event-type", "").lower():
                case "subscriptionvalidation":
                    answer = {"validationResponse": event_grid.validation_code(body)}
                    return web.Response(text=json.dumps(answer), content_type="application/json")
                case "notification":
                    for message in event_grid.messages(body, function_id):
                        await self._enqueue(message)
                    return _empty(202)
                case "unsubscribe":
                    return _empty(202)
                case other:
                    raise ValueError(f"aeg-event-type is {other!r}")
        except ValueError as error:
            logger.warning("A call of the blobs webhook is refused: %s", error)
            return _empty(400)


def _make_request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: RequestHandler,
    writer: AbstractStreamWriter,
    task: "asyncio.Task[None]",
) -> BaseRequest:
    loop = asyncio.get_running_loop()
    return BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=MAX_BODY)


def _key(request: BaseRequest) -> str:
    """The header wins over the query, even where it is wrong."""
    if (key := request.headers.get("x-functions-key")) is not None:
        return key
    return request.query.get("code", "") if request.query_string else ""


async def _body(request: BaseRequest) -> bytes:
    if not request.can_read_body:
        return b""
    if (request.content_length or 0) > MAX_BODY:
        raise web.HTTPRequestEntityTooLarge(max_size=MAX_BODY, actual_size=request.content_length or 0)
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # as aiohttp's own router does: the response has not begun
    return await request.read()


def _joined(items: Any) -> dict[str, str]:
    """Repeated names are joined by a comma, as the host does before it calls the worker."""
    joined: dict[str, str] = {}
    for name, value in items:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def _response(result: object) -> web.Response:
    """Raises ``TypeError`` where the function returned neither ``HttpResponse`` nor ``str``."""
    if isinstance(result, str):
        return web.Response(text=result)
    if not isinstance(result, func.HttpResponse):
        raise TypeError(f'unable to encode outgoing TypedData: unsupported type "http" for {type(result).__name__}')
    headers = CIMultiDict((name, value) for name, value in result.headers.items() if name.lower() not in _HOP_BY_HOP)
    if "content-type" not in headers:
        is_text = result.mimetype.startswith("text/")
        headers["Content-Type"] = f"{result.mimetype}; charset={result.charset}" if is_text else result.mimetype
    return web.Response(body=result.get_body(), status=result.status_code, headers=headers)


def _unauthorized(key: str) -> web.Response:
    """Azure's own 401 has no body; here it says what is missing, for whoever is trying the API out on this machine."""
    code, message = ("wrong_key", "The key given is not one of this app's.") if key else ("no_key", "A key is needed.")
    hint = "Send the function key as the header x-functions-key or as ?code=; 'slipway up' prints it."
    body = json.dumps({"error": {"code": code, "message": message, "hint": hint}})
    return web.Response(status=401, text=body, content_type="application/json")


def _empty(status: int) -> web.Response:
    return web.Response(status=status)
