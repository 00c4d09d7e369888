"""The API server on HTTP: authentication, routing, encoding. What requests do stands in ``verbs``."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
from aiohttp import web

from localcloud.kubernetes import verbs
from localcloud.kubernetes.access import (
    ADMIN,
    ANONYMOUS,
    Access,
    Role,
    User,
    authorize,
    may_read_path,
    path_forbidden,
)
from localcloud.kubernetes.controllers import Controllers
from localcloud.kubernetes.discovery import AGGREGATED, HEALTH, aggregated_document, document
from localcloud.kubernetes.errors import ApiError, internal, method_not_allowed, unknown_resource
from localcloud.kubernetes.paths import Target, parse_path
from localcloud.kubernetes.pod_logs import pod_log
from localcloud.kubernetes.registry import Registry
from localcloud.kubernetes.representations import Form, choose_form
from localcloud.kubernetes.resources import Resource, find_resource
from localcloud.kubernetes.service_addresses import Allocate, ServiceAddresses
from localcloud.kubernetes.store import Store
from localcloud.kubernetes.verbs import Answer, Call
from localcloud.kubernetes.watching import WatchOptions, watch
from localcloud.kubernetes.wire import dump

_log = logging.getLogger(__name__)
_MAX_BODY = 3 * 1024 * 1024  # what a real API server accepts
_NO_CACHE = {"Cache-Control": "no-cache, private"}
_WATCH_VALUES = ("true", "1", "")


class KubernetesApi:
    """A running API server with its controllers over one data folder."""

    def __init__(self, store: Store, registry: Registry, access: Access, http: aiohttp.ClientSession) -> None:
        self.registry = registry
        self._store = store
        self._access = access
        self._http = http
        self._controllers = Controllers(registry)
        self._watchers: set[asyncio.Task[object]] = set()
        self._runners: list[web.AppRunner] = []
        self._address = ""
        self._open_address: str | None = None

    @classmethod
    async def start(
        cls,
        data: Path,
        host: str,
        port: int,
        token: str,
        viewer_token: str | None = None,
        *,
        viewer_role: Role = Role.VIEW,
        allocate: Allocate | None = None,
        open_port: int | None = None,
    ) -> "KubernetesApi":
        """Starts the server on what ``data`` holds.

        ``token`` may do everything, ``viewer_token`` what ``viewer_role`` says. ``allocate`` gives a Service the address
        that it is reached at, as cluster address and as load balancer's. ``open_port`` opens a second listener that
        asks for no token, because kubectl sends none over plain HTTP: whoever reaches it is an administrator, so it is
        always on 127.0.0.1 and refuses browsers. A port of 0 takes a free one.
        """
        store = Store(data)
        registry = Registry(store, ServiceAddresses(store, allocate))
        api = cls(store, registry, Access(token, viewer_token, viewer_role), aiohttp.ClientSession())
        try:
            api._address = await api._listen(host, port, api._by_token)
            if open_port is not None:
                api._open_address = await api._listen("127.0.0.1", open_port, _by_address)
            api._controllers.start(balanced=allocate is not None)
        except BaseException:
            await api.stop()
            raise
        return api

    @property
    def url(self) -> str:
        """Where it listens: ``http://HOST:PORT``."""
        return f"http://{self._address}"

    @property
    def open_url(self) -> str | None:
        """Where it listens without asking for a token, if it does."""
        return f"http://{self._open_address}" if self._open_address else None

    async def stop(self) -> None:
        """Stops the controllers, ends every watch, closes the listener and the store."""
        await self._controllers.stop()
        for task in tuple(self._watchers):
            task.cancel()
        while self._runners:
            await self._runners.pop().cleanup()
        await self._http.close()
        self._store.close()

    async def _listen(self, host: str, port: int, authenticate: Callable[[web.Request], User]) -> str:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._handle(authenticate(request), request)

        application = web.Application(client_max_size=_MAX_BODY, middlewares=[_answer_errors])
        application.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=2.0, handler_cancellation=True)
        self._runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, host, port).start()
        bound_host, bound_port = runner.addresses[0][:2]
        return f"{bound_host}:{bound_port}"

    def _by_token(self, request: web.Request) -> User:
        return self._access.authenticate(request.headers.get("Authorization"))

    async def _handle(self, user: User, request: web.Request) -> web.StreamResponse:
        target = parse_path(request.path)
        if target is None:
            return self._handle_document(user, request)
        verb = _verb(request, target)
        authorize(user, target, verb)
        resource = find_resource(target.group, target.version, target.plural)
        if resource is None or not resource.supports(target.subresource):
            raise unknown_resource()
        if resource.namespaced is False and target.namespace:
            raise unknown_resource()
        return await self._handle_resource(user, request, resource, target, verb)

    def _handle_document(self, user: User, request: web.Request) -> web.Response:
        path = request.path
        if not may_read_path(user, path):
            raise path_forbidden(user, request.method, path)
        if path.startswith(HEALTH):
            return web.Response(text="ok", headers=_NO_CACHE)
        accepted = [offer.replace(" ", "") for offer in request.headers.get("Accept", "").split(",")]
        if AGGREGATED in accepted and (found := aggregated_document(path)) is not None:
            return web.Response(body=dump(found), headers={"Content-Type": AGGREGATED, **_NO_CACHE})
        body = document(path, self._address)
        if body is None:
            return web.Response(status=404, text="404 page not found\n", headers=_NO_CACHE)
        if request.method not in ("GET", "HEAD"):
            raise method_not_allowed()
        return web.Response(body=dump(body), content_type="application/json", headers=_NO_CACHE)

    async def _handle_resource(
        self, user: User, request: web.Request, resource: Resource, target: Target, verb: str
    ) -> web.StreamResponse:
        if resource.namespaced and not target.namespace and verb not in ("list", "watch"):
            raise method_not_allowed()
        if verb not in resource.verbs or (verb == "create" and target.subresource):
            raise method_not_allowed()
        if target.subresource == "log":
            if verb != "get":
                raise method_not_allowed()
            return await pod_log(self.registry, self._http, request, target.namespace, target.name)
        form = choose_form(request.headers.get("Accept", ""), request.query.get("includeObject", ""))
        if verb == "watch":
            return await self._watch(request, resource, target, form)
        call = Call(
            resource, target, user, request.query, request.headers.get("Content-Type", "").partition(";")[0].strip(),
            request.headers.get("User-Agent", "unknown"), await request.read(),
        )  # fmt: skip
        answer = _VERBS[verb](self.registry, call)
        return _encoded(call, form, answer)

    async def _watch(self, request: web.Request, resource: Resource, target: Target, form: Form) -> web.StreamResponse:
        options = WatchOptions.read(resource, request.query, target.name)
        response = web.StreamResponse(headers={"Content-Type": "application/json", **_NO_CACHE})
        response.enable_chunked_encoding()
        task: asyncio.Task[object] | None = asyncio.current_task()
        if task is not None:
            self._watchers.add(task)
            task.add_done_callback(self._watchers.discard)
        with contextlib.suppress(ConnectionResetError):  # the client left
            await response.prepare(request)
            async for event in watch(self._store, resource, target.namespace, options):
                shown = event.item if event.kind in ("ERROR", "BOOKMARK") else form.shown(resource, event.item)
                await response.write(dump({"type": event.kind, "object": shown}) + b"\n")
            await response.write_eof()
        return response


def _by_address(request: web.Request) -> User:
    """Who reaches the open listener; a page in a browser, which sends an Origin, is nobody."""
    return ANONYMOUS if "Origin" in request.headers else ADMIN


_VERBS: dict[str, Callable[[Registry, Call], Answer]] = {
    "get": verbs.get, "list": verbs.list_, "create": verbs.create, "update": verbs.update, "patch": verbs.patch,
    "delete": verbs.delete, "deletecollection": verbs.delete_collection,
}  # fmt: skip


def _verb(request: web.Request, target: Target) -> str:
    match request.method:
        case "GET" | "HEAD" if target.old_watch:
            return "watch"
        case "GET" | "HEAD" if target.name:
            return "get"
        case "GET" | "HEAD":
            wanted = "watch" in request.query and request.query["watch"] in _WATCH_VALUES
            return "watch" if wanted else "list"
        case "POST":
            if target.name and not target.subresource:
                raise method_not_allowed()
            return "create"
        case "PUT" | "PATCH" if not target.name:
            raise method_not_allowed()
        case "PUT":
            return "update"
        case "PATCH":
            return "patch"
        case "DELETE":
            return "delete" if target.name else "deletecollection"
        case _:
            raise method_not_allowed()


def _encoded(call: Call, form: Form, answer: Answer) -> web.Response:
    if answer.raw is not None:
        body = answer.raw
    elif answer.items is not None:
        body = form.shown_list(call.resource, answer.items, answer.metadata)
    else:
        body = form.shown(call.resource, answer.item or {})
    response = web.Response(body=dump(body), status=answer.code, content_type="application/json", headers=_NO_CACHE)
    for text in call.warnings:
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{quoted}"')
    return response


@web.middleware
async def _answer_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except ApiError as error:
        fault = error
    except web.HTTPRequestEntityTooLarge:
        fault = ApiError(413, "RequestEntityTooLarge", f"limit is {_MAX_BODY}")
    except web.HTTPException:
        raise
    except Exception as error:  # noqa: BLE001  (logged, and answered as the 500 that it is)
        _log.exception("%s %s failed", request.method, request.path)
        fault = internal(f"{type(error).__name__}: {error}")
    return web.Response(
        body=dump(fault.status()), status=fault.code, content_type="application/json", headers=_NO_CACHE
    )
