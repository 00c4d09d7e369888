"""Performs an ordered fault on a request."""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from localcloud.arm.control_plane import ControlPlane
from localcloud.arm.errors import ArmError
from localcloud.arm.faults import Does, Fault
from localcloud.arm.identity import CLIENT_ID
from localcloud.arm.model import Cluster, Failure
from localcloud.arm.paths import Call, Target

_ACTIONS = {
    Call.CLUSTER_LIST: "read",
    Call.CLUSTER_GET: "read",
    Call.CLUSTER_PUT: "write",
    Call.CLUSTER_PATCH: "write",
    Call.CLUSTER_DELETE: "delete",
    Call.CLUSTER_START: "start/action",
    Call.CLUSTER_STOP: "stop/action",
    Call.CLUSTER_ABORT: "abort/action",
    Call.CLUSTER_USER_CREDENTIALS: "listClusterUserCredential/action",
    Call.CLUSTER_ADMIN_CREDENTIALS: "listClusterAdminCredential/action",
    Call.POOL_LIST: "agentPools/read",
    Call.POOL_GET: "agentPools/read",
    Call.POOL_PUT: "agentPools/write",
    Call.POOL_DELETE: "agentPools/delete",
    Call.POOL_ABORT: "agentPools/abort/action",
}


async def meet(
    fault: Fault,
    target: Target,
    control: ControlPlane,
    request: web.Request,
    perform: Callable[[], Awaitable[web.StreamResponse]],
) -> web.StreamResponse:
    """What the request gets; ``perform`` does what it asks. Raises `ArmError` where the fault refuses it."""
    code, message = fault.code, _filled(fault.message, target, control.cluster)
    match fault.does:
        case Does.REFUSE:
            raise ArmError(fault.status, code, message, fault.retry_after)
        case Does.FAIL:
            known = {each.id for each in control.cluster.operations}
            response = await perform()
            begun = next((each for each in control.cluster.operations if each.id not in known), None)
            if begun is not None:
                control.doom(begun, Failure(code=code, message=message))
            return response
        case Does.HANG:
            await asyncio.sleep(fault.seconds)
            return await perform()
        case Does.CUT:
            return _cut(request)
        case Does.CUT_AFTER:
            await perform()
            return _cut(request)
        case Does.GARBLE:
            return web.Response(
                text="<html>This is a gateway's page, not JSON.</html>", content_type="application/json"
            )


def _cut(request: web.Request) -> web.Response:
    """Ends the connection at once; the response that is returned goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


def _filled(template: str, target: Target, cluster: Cluster) -> str:
    """The message with the names of what was asked for."""
    pool = target.pool or next((name for name in cluster.pools if cluster.pools[name].count == 0), "")
    resource = "agentPools/" if target.pool else ""
    scope = cluster.id + (f"/{resource}{target.pool}" if target.pool else "")
    known = cluster.pools.get(target.pool)
    values = {
        "call": target.call,
        "subscription": cluster.subscription_id,
        "group": target.group or cluster.resource_group,
        "cluster": target.cluster or cluster.name,
        "pool": pool,
        "scope": scope,
        "size": known.vm_size if known else "Standard_NC4as_T4_v3",
        "location": cluster.location,
        "identity": CLIENT_ID,
        "action": f"Microsoft.ContainerService/managedClusters/{_ACTIONS.get(target.call, 'read')}",
    }
    for name, value in values.items():
        template = template.replace(f"{{{name}}}", value)
    return template
