"""ARM over HTTP: the calls that ``azure-mgmt-containerservice`` (api 2026-08-01) makes for clusters and agent pools.

Beside them: the identity endpoint (`identity`), and ``/admin/faults``, which is no part of ARM (`admin`).
"""

import json
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from aiohttp import web

from localcloud.arm import documents
from localcloud.arm.admin import FaultAdmin
from localcloud.arm.control_plane import ControlPlane
from localcloud.arm.errors import ArmError, invalid, not_found
from localcloud.arm.faulty import meet
from localcloud.arm.identity import ENDPOINT_PATH, Identity
from localcloud.arm.model import Cluster, Operation, OperationKind, OperationStatus
from localcloud.arm.paths import Call, Target, resolve

_log = logging.getLogger(__name__)
_RETRY_AFTER = 10  # seconds at most


@dataclass(frozen=True)
class KubeconfigSource:
    """What a kubeconfig needs: where the Kubernetes API listens, and its administrator's token."""

    url: str
    token: str


class ArmServer:
    """Answers for one cluster. `start` listens on loopback; `url` is then known."""

    def __init__(self, control_plane: ControlPlane, identity: Identity, kubeconfig: KubeconfigSource) -> None:
        self._control = control_plane
        self._identity = identity
        self._kubeconfig = kubeconfig
        self._runner: web.AppRunner | None = None
        self.port = 0
        self.url = ""

    async def start(self, host: str, port: int) -> None:
        """Listens; port 0 takes a free one."""
        app = web.Application()
        app.router.add_get(ENDPOINT_PATH, self._token)
        FaultAdmin(self._control.faults, self._identity).add_to(app)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        self.port = int(self._runner.addresses[0][1])
        self.url = f"http://{host}:{self.port}"

    @property
    def identity_endpoint(self) -> str:
        """The value of IDENTITY_ENDPOINT for processes that use the local cloud."""
        return self.url + ENDPOINT_PATH

    async def stop(self) -> None:
        """Stops listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _token(self, request: web.Request) -> web.StreamResponse:
        fault = self._control.faults.take(Call.IDENTITY_TOKEN)
        if fault is None:
            return await self._identity.answer(request)
        target = Target(Call.IDENTITY_TOKEN, self._control.cluster.subscription_id)
        try:
            return await meet(fault, target, self._control, request, lambda: self._identity.answer(request))
        except ArmError as error:
            return web.json_response({"statusCode": error.status, "message": error.message}, status=error.status)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        refusal = self._identity.refusal(request.headers.get("Authorization"))
        try:
            if refusal is not None:
                raise ArmError(
                    401, "AuthenticationFailed" if "missing" in refusal else "InvalidAuthenticationToken", refusal
                )
            if "api-version" not in request.query:
                raise invalid(
                    "The api-version query parameter (?api-version=) is required for all requests.",
                    "MissingApiVersionParameter",
                )
            target = resolve(request.method, request.path)

            async def perform() -> web.Response:
                return await self._perform(target, request)

            fault = self._control.faults.take(target.call)
            answer = await (meet(fault, target, self._control, request, perform) if fault is not None else perform())
            if request.method in ("PUT", "POST", "DELETE"):
                _log.info("%s %s: %s %s", request.method, request.path, answer.status, _count(await request.text()))
            return answer
        except ArmError as error:
            _log.info("%s %s: %s", request.method, request.path, error)
            return web.json_response(error.body(), status=error.status, headers=_headers(error))

    async def _perform(self, target: Target, request: web.Request) -> web.Response:
        cluster = self._control.cluster
        if target.subscription.lower() != cluster.subscription_id:
            raise ArmError(404, "SubscriptionNotFound", f"The subscription '{target.subscription}' could not be found.")
        if target.group and target.group.lower() != cluster.resource_group.lower():
            raise ArmError(404, "ResourceGroupNotFound", f"Resource group '{target.group}' could not be found.")
        match target.call:
            case Call.OPERATION_GET | Call.OPERATION_RESULT:
                return self._operation(request, target)
            case Call.CLUSTER_LIST:
                return web.json_response({"value": [documents.cluster(cluster)] if cluster.exists else []})
        if target.cluster.lower() != cluster.name.lower() or not cluster.exists:
            if target.call is Call.CLUSTER_PUT:
                raise invalid("This stand-in has one cluster and creates no other: start it on an empty folder.")
            if target.call is Call.CLUSTER_DELETE:
                return web.Response(status=204)
            raise not_found("managedClusters", target.cluster, target.group)
        return await self._on_cluster(target, cluster, request)

    async def _on_cluster(self, target: Target, cluster: Cluster, request: web.Request) -> web.Response:
        control = self._control
        match target.call:
            case Call.CLUSTER_GET:
                return web.json_response(documents.cluster(cluster))
            case Call.CLUSTER_PUT:
                return self._updated(control.update(await _json(request)), lambda: documents.cluster(control.cluster))
            case Call.CLUSTER_PATCH:
                return self._updated(control.tag(await _json(request)), lambda: documents.cluster(control.cluster))
            case Call.CLUSTER_DELETE:
                return self._accepted(control.delete())
            case Call.CLUSTER_START:
                return self._accepted(control.start())
            case Call.CLUSTER_STOP:
                return self._accepted(control.stop())
            case Call.CLUSTER_ABORT:
                return self._accepted(control.abort())
            case Call.CLUSTER_USER_CREDENTIALS:
                entra = documents.entra_user(request.query.get("format", "azure"))
                return self._credentials(
                    "clusterUser", entra if cluster.entra else documents.token_user(self._kubeconfig.token)
                )
            case Call.CLUSTER_ADMIN_CREDENTIALS:
                if cluster.disable_local_accounts:
                    raise invalid(
                        "Getting static credential is not allowed because this cluster is set to disable local accounts.",
                        "BadRequest",
                    )
                return self._credentials("clusterAdmin", documents.token_user(self._kubeconfig.token))
            case Call.POOL_LIST:
                return web.json_response({"value": [documents.pool(cluster, pool) for pool in cluster.pools.values()]})
            case Call.POOL_PUT:
                operation = control.put_pool(target.pool, await _json(request), _etag(request))
                return self._updated(
                    operation, lambda: documents.pool(control.cluster, control.cluster.pools[target.pool])
                )
            case Call.POOL_DELETE if target.pool not in cluster.pools:
                return web.Response(status=204)
            case Call.POOL_DELETE:
                return self._accepted(control.delete_pool(target.pool))
            case Call.POOL_ABORT:
                return self._accepted(control.abort(target.pool))
            case _:
                if target.pool not in cluster.pools:
                    name = f"{cluster.name}/agentPools/{target.pool}"
                    raise not_found("managedClusters", name, cluster.resource_group)
                return web.json_response(documents.pool(cluster, cluster.pools[target.pool]))

    def _operation(self, request: web.Request, target: Target) -> web.Response:
        operation = self._control.cluster.operation(target.operation)
        if operation is None:
            raise ArmError(404, "NotFound", f"The operation '{target.operation}' was not found; a hundred are kept.")
        running = operation.status is OperationStatus.IN_PROGRESS
        headers = {"Retry-After": _retry_after(operation)} if running else {}
        if target.call is Call.OPERATION_GET:
            return web.json_response(documents.operation(request.path, operation), headers=headers)
        if running:
            return web.Response(status=202, headers={**headers, "Location": str(request.url)})
        return web.Response(status=204)

    def _accepted(self, operation: Operation) -> web.Response:
        return web.Response(
            status=202,
            headers={
                "Azure-AsyncOperation": self._operation_url("operations", operation),
                "Location": self._operation_url("operationresults", operation),
                "Retry-After": _retry_after(operation),
            },
        )

    def _updated(self, operation: Operation, document: Callable[[], documents.Document]) -> web.Response:
        """The resource as it is becoming."""
        return web.json_response(
            document(),
            status=201 if operation.kind is OperationKind.CREATE_POOL else 200,
            headers={"Azure-AsyncOperation": self._operation_url("operations", operation)},
        )

    def _operation_url(self, what: str, operation: Operation) -> str:
        cluster = self._control.cluster
        return (
            f"{self.url}/subscriptions/{cluster.subscription_id}/providers/Microsoft.ContainerService"
            f"/locations/{cluster.location}/{what}/{operation.id}?api-version=2016-03-30"
        )

    def _credentials(self, name: str, user: documents.Document) -> web.Response:
        config = documents.kubeconfig(self._control.cluster.name, self._kubeconfig.url, user)
        return web.json_response(documents.credentials(name, config))


def _headers(error: ArmError) -> dict[str, str]:
    headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'} if error.status == 401 else {}
    return headers if error.retry_after is None else {**headers, "Retry-After": str(error.retry_after)}


def _retry_after(operation: Operation) -> str:
    """Whole seconds until it is worth looking again; 0 where that is less than one."""
    left = (operation.due - datetime.now(UTC)).total_seconds()
    return str(max(0, min(_RETRY_AFTER, math.floor(left))))


def _etag(request: web.Request) -> str | None:
    given = request.headers.get("If-Match")
    return None if given is None else given.strip('"')


async def _json(request: web.Request) -> object:
    try:
        return await request.json()
    except json.JSONDecodeError as error:
        raise invalid(
            f"The request content was invalid and could not be deserialized: {error}.", "InvalidRequestContent"
        ) from error


def _count(body: str) -> str:
    """The node count that a request asks for, for the log; nothing where it asks for none."""
    try:
        return f"count={json.loads(body)['properties']['count']}"
    except (ValueError, LookupError, TypeError):
        return ""
