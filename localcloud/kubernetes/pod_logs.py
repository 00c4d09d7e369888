"""``pods/NAME/log``: passed through from the kubelet of the pod's node."""

from collections.abc import Mapping
from urllib.parse import urlencode

import aiohttp
from aiohttp import web

from localcloud.kubernetes.errors import ApiError, Subject, bad_request, internal, invalid, wrong
from localcloud.kubernetes.objects import Object, dig, name_of, namespace_of
from localcloud.kubernetes.registry import Registry
from localcloud.kubernetes.resources import NODES, PODS

_CONNECT_SECONDS = 5.0
_PASSED = ("follow", "tailLines", "previous", "sinceSeconds", "sinceTime", "timestamps", "limitBytes")
_CHUNK = 1 << 16


async def pod_log(
    registry: Registry, http: aiohttp.ClientSession, request: web.Request, namespace: str, name: str
) -> web.StreamResponse:
    """Streams a container's log. 204 before the pod is scheduled. Raises ApiError."""
    pod = registry.get(PODS, namespace, name)
    _check_options(request.query, name)
    container = _container(pod, request.query.get("container", ""))
    node = registry.store.get(NODES, "", pod["spec"].get("nodeName", ""))
    if node is None:
        return web.Response(status=204)
    url = _url(pod, node, container, request.query)
    try:
        async with http.get(url, timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)) as answer:
            if answer.status != 200:
                raise _refused(answer.status, (await answer.text()).strip(), container, name)
            response = web.StreamResponse(headers={"Content-Type": "text/plain", "Cache-Control": "no-cache, private"})
            await response.prepare(request)
            async for chunk in answer.content.iter_chunked(_CHUNK):
                await response.write(chunk)
            await response.write_eof()
            return response
    except aiohttp.ClientConnectorError as error:
        fault = f"dial tcp {error.host}:{error.port}: connect: connection refused"
        raise internal(f'Get "{url}": {fault}') from error


def _check_options(query: Mapping[str, str], name: str) -> None:
    for field in ("tailLines", "sinceSeconds", "limitBytes"):
        text = query.get(field)
        if text is not None and not text.lstrip("-").isdigit():
            raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
        if text is not None and int(text) < 0:
            cause = wrong(field, text, "must be greater than or equal to 0")
            raise invalid(Subject("", "", "PodLogOptions", name), [cause])


def _container(pod: Object, wanted: str) -> str:
    names = [entry["name"] for entry in pod["spec"]["containers"]]
    first = [entry["name"] for entry in pod["spec"].get("initContainers") or []]
    if wanted:
        if wanted not in names + first:
            raise bad_request(f"container {wanted} is not valid for pod {name_of(pod)}")
        return wanted
    if len(names) == 1 and not first:
        return str(names[0])
    choices = " ".join(first + names)
    raise bad_request(f"a container name must be specified for pod {name_of(pod)}, choose one of: [{choices}]")


def _url(pod: Object, node: Object, container: str, query: Mapping[str, str]) -> str:
    addresses = {entry["type"]: entry["address"] for entry in dig(node, "status", "addresses") or []}
    host = addresses.get("InternalIP") or addresses.get("Hostname") or name_of(node)
    port = dig(node, "status", "daemonEndpoints", "kubeletEndpoint", "Port")
    passed = {key: query[key] for key in _PASSED if key in query}
    path = f"/containerLogs/{namespace_of(pod)}/{name_of(pod)}/{container}"
    return f"http://{host}:{port}{path}" + (f"?{urlencode(passed)}" if passed else "")


def _refused(status: int, text: str, container: str, pod: str) -> ApiError:
    if status in (400, 404):
        return bad_request(text or f'container "{container}" in pod "{pod}" has no log')
    return internal(text or f"the kubelet answered {status}")
