"""ARM over HTTP: the calls that ``azure-mgmt-containerservice`` (api 2026-08-01) makes for clusters and agent pools.

ARM compares the fixed parts of its paths, and the names of resources, without regard to case.
"""

import json
import logging
import re
from dataclasses import dataclass

from aiohttp import web

from localcloud.arm import documents
from localcloud.arm.control_plane import ControlPlane
from localcloud.arm.errors import ArmError, invalid, not_found
from localcloud.arm.identity import ENDPOINT_PATH, Identity
from localcloud.arm.model import Cluster, Operation, OperationKind, OperationStatus

_log = logging.getLogger(__name__)
_PROVIDER = r"providers/Microsoft\.ContainerService"
_CLUSTERS = re.compile(rf"/{_PROVIDER}/managedClusters(?:/(?P<cluster>[^/]+)(?P<rest>/.+)?)?", re.IGNORECASE)
_OPERATION = re.compile(
    rf"/{_PROVIDER}/locations/[^/]+/(?P<what>operations|operationresults)/(?P<id>[^/]+)", re.IGNORECASE
)
_SUBSCRIPTION = re.compile(
    r"/subscriptions/(?P<subscription>[^/]+)(?:/resourceGroups/(?P<group>[^/]+))?(?P<rest>/.*)?", re.IGNORECASE
)
_POOL = re.compile(r"/agentPools(?:/(?P<pool>[^/]+))?", re.IGNORECASE)


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
        app.router.add_get(ENDPOINT_PATH, self._identity.answer)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
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

    async def _answer(self, request: web.Request) -> web.Response:
        refusal = self._identity.refusal(request.headers.get("Authorization"))
        try:
            if refusal is not None:
                raise ArmError(
                    401, "AuthenticationFailed" if "missing" in refusal else "InvalidAuthenticationToken", refusal
                )
            return await self._route(request)
        except ArmError as error:
            _log.info("%s %s: %s", request.method, request.path, error)
            headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'} if error.status == 401 else {}
            return web.json_response(error.body(), status=error.status, headers=headers)

    async def _route(self, request: web.Request) -> web.Response:
        if "api-version" not in request.query:
            raise invalid(
                "The api-version query parameter (?api-version=) is required for all requests.",
                "MissingApiVersionParameter",
            )
        cluster = self._control.cluster
        scope = _SUBSCRIPTION.fullmatch(request.path)
        if scope is None:
            raise ArmError(404, "InvalidResourceType", f"There is nothing at {request.path}.")
        if scope["subscription"].lower() != cluster.subscription_id:
            raise ArmError(
                404, "SubscriptionNotFound", f"The subscription '{scope['subscription']}' could not be found."
            )
        group, rest = scope["group"], scope["rest"] or ""
        if group is not None and group.lower() != cluster.resource_group.lower():
            raise ArmError(404, "ResourceGroupNotFound", f"Resource group '{group}' could not be found.")
        if group is None and (found := _OPERATION.fullmatch(rest)):
            return self._operation(request, found["what"].lower(), found["id"])
        if found := _CLUSTERS.fullmatch(rest):
            if found["cluster"] is None:
                _only(request, "GET")
                return web.json_response({"value": [documents.cluster(cluster)]})
            if group is not None:
                if found["cluster"].lower() != cluster.name.lower():
                    raise not_found("managedClusters", found["cluster"], group)
                return await self._cluster(request, cluster, found["rest"] or "")
        raise ArmError(404, "InvalidResourceType", f"This stand-in has no {request.path}.")

    async def _cluster(self, request: web.Request, cluster: Cluster, rest: str) -> web.Response:
        match (request.method, rest.lower()):
            case ("GET", ""):
                return web.json_response(documents.cluster(cluster))
            case ("POST", "/start"):
                return self._accepted(self._control.start())
            case ("POST", "/stop"):
                return self._accepted(self._control.stop())
            case ("POST", "/abort"):
                return self._accepted(self._control.abort())
            case ("POST", "/listclusterusercredential"):
                return self._credentials("clusterUser", documents.entra_user(request.query.get("format", "azure")))
            case ("POST", "/listclusteradmincredential"):
                if cluster.disable_local_accounts:
                    raise invalid(
                        "Getting static credential is not allowed because this cluster is set to disable local "
                        "accounts.",
                        "BadRequest",
                    )
                return self._credentials("clusterAdmin", documents.token_user(self._kubeconfig.token))
        if found := _POOL.fullmatch(rest):
            return await self._pool(request, cluster, found["pool"])
        raise ArmError(404, "InvalidResourceType", f"This stand-in has no {request.method} {request.path}.")

    async def _pool(self, request: web.Request, cluster: Cluster, name: str | None) -> web.Response:
        if name is None:
            _only(request, "GET")
            return web.json_response({"value": [documents.pool(cluster, pool) for pool in cluster.pools.values()]})
        name = name.lower()
        match request.method:
            case "PUT":
                operation = self._control.put_pool(name, await _json(request), _etag(request))
                created = operation.kind is OperationKind.CREATE_POOL
                changed = self._control.cluster
                return web.json_response(
                    documents.pool(changed, changed.pools[name]),
                    status=201 if created else 200,
                    headers={"Azure-AsyncOperation": self._operation_url("operations", operation)},
                )
            case "DELETE" if name not in cluster.pools:
                return web.Response(status=204)
            case "DELETE":
                return self._accepted(self._control.delete_pool(name))
        if name not in cluster.pools:
            raise not_found("managedClusters/agentPools", f"{cluster.name}/{name}", cluster.resource_group)
        _only(request, "GET")
        return web.json_response(documents.pool(cluster, cluster.pools[name]))

    def _operation(self, request: web.Request, what: str, identifier: str) -> web.Response:
        _only(request, "GET")
        operation = self._control.cluster.operation(identifier)
        if operation is None:
            raise ArmError(404, "NotFound", f"The operation '{identifier}' was not found; a hundred are kept.")
        if what == "operations":
            return web.json_response(documents.operation(request.path, operation))
        if operation.status is OperationStatus.IN_PROGRESS:
            return web.Response(status=202, headers={"Location": str(request.url)})
        return web.Response(status=204)

    def _accepted(self, operation: Operation) -> web.Response:
        return web.Response(
            status=202,
            headers={
                "Azure-AsyncOperation": self._operation_url("operations", operation),
                "Location": self._operation_url("operationresults", operation),
            },
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


def _only(request: web.Request, method: str) -> None:
    if request.method != method:
        raise ArmError(405, "HttpMethodNotAllowed", f"{request.path} takes {method} only.")


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
