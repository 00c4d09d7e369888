"""The HTTP trigger over real connections: keys, routes, what functions are given and may return, and limits."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
import pytest

from tests.hosts import HostProcess, StartHost

ECHO = """
@app.route(route="models/{name}/rollback", methods=["POST"])
async def rollback(req: func.HttpRequest) -> func.HttpResponse:
    record(
        method=req.method, url=req.url, params=dict(req.params), route=dict(req.route_params),
        header=req.headers.get("X-Word"), body=req.get_body().decode(),
    )
    return func.HttpResponse(
        b"\\x00\\x01", status_code=202, mimetype="application/octet-stream", headers={"X-Answer": "yes", "Set-Cookie": "a=b"}
    )

@app.route(route="secret", auth_level=func.AuthLevel.ADMIN)
def secret(req: func.HttpRequest) -> str:
    return "for the master key"

@app.route(route="health", auth_level=func.AuthLevel.ANONYMOUS)
def health(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("ok")

@app.route(route="off", auth_level=func.AuthLevel.ANONYMOUS)
def off(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("never")

@app.route(route="raises", auth_level=func.AuthLevel.ANONYMOUS)
async def raises(req: func.HttpRequest) -> func.HttpResponse:
    raise RuntimeError("the function's own words")

@app.route(route="nothing", auth_level=func.AuthLevel.ANONYMOUS)
def nothing(req: func.HttpRequest):
    logging.info("a line of the app's own")

@app.route(route="who", auth_level=func.AuthLevel.ANONYMOUS)
def who(req: func.HttpRequest, context: func.Context) -> str:
    return f"{context.function_name} {len(context.invocation_id)}"

@app.route(route="slow", auth_level=func.AuthLevel.ANONYMOUS)
async def slow(req: func.HttpRequest) -> str:
    await asyncio.sleep(float(req.params["seconds"]))
    record(slow="has ended")
    return "late"

@app.route(route="blocking", auth_level=func.AuthLevel.ANONYMOUS)
def blocking(req: func.HttpRequest) -> str:
    record(event="begin")
    time.sleep(0.2)
    record(event="end")
    return "done"
"""


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str]


async def ask(
    host: HostProcess, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> Answer:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"{host.ready['url']}{path}", headers=headers, data=body) as answer,
    ):
        return Answer(answer.status, await answer.read(), answer.headers)


async def test_a_function_is_given_the_request_and_its_response_is_sent_as_it_is(start_host: StartHost) -> None:
    host = await start_host(ECHO)
    path = "/api/models/cats%20v2/rollback?version=3&tag=a&tag=b"
    headers = {"x-functions-key": host.ready["function_key"], "X-Word": "straße"}
    answer = await ask(host, "POST", path, headers=headers, body=b'{"version": 3}')
    assert host.records == [
        {
            "method": "POST",
            "url": f"{host.ready['url']}{path}",
            "params": {"version": "3", "tag": "a,b"},
            "route": {"name": "cats v2"},
            "header": "straße",
            "body": '{"version": 3}',
        }
    ]
    assert (answer.status, answer.body) == (202, b"\x00\x01")
    assert {name: answer.headers[name] for name in ("Content-Type", "X-Answer", "Set-Cookie", "Content-Length")} == {
        "Content-Type": "application/octet-stream",
        "X-Answer": "yes",
        "Set-Cookie": "a=b",
        "Content-Length": "2",
    }


async def test_keys_open_what_they_are_for_and_the_header_wins_over_the_query(start_host: StartHost) -> None:
    host = await start_host(ECHO)
    function, master = host.ready["function_key"], host.ready["master_key"]
    system = host.ready["blobs_extension_key"]
    post = "/api/models/cats/rollback"
    for method, path, header, status in (
        ("POST", post, None, 401),
        ("POST", post, "wrong", 401),
        ("POST", post, system, 401),
        ("POST", post, function, 202),
        ("POST", post, master, 202),
        ("POST", f"{post}?code={function}", None, 202),
        ("POST", f"{post}?code={function}", "wrong", 401),
        ("POST", f"{post}?code=wrong", function, 202),
        ("GET", "/api/secret", function, 401),
        ("GET", "/api/secret", master, 200),
        ("GET", "/api/health", None, 200),
        ("GET", "/api/health", "wrong", 200),
        ("GET", "/admin/host/status", function, 401),
        ("GET", "/admin/host/status", master, 200),
    ):
        answer = await ask(host, method, path, headers={} if header is None else {"x-functions-key": header})
        assert answer.status == status, (method, path, header)
        if status == 401 and path.startswith("/api/"):  # unlike Azure's, which is empty
            assert json.loads(answer.body)["error"]["code"] == ("wrong_key" if header or "code=" in path else "no_key")


async def test_keys_stay_the_same_after_a_restart(start_host: StartHost) -> None:
    host = await start_host(ECHO)
    keys = {name: host.ready[name] for name in ("function_key", "master_key", "blobs_extension_key", "host_id")}
    assert (host.folder / "data" / "host.json").stat().st_mode & 0o077 == 0
    await host.stop()
    again = await start_host()
    assert {name: again.ready[name] for name in keys} == keys


async def test_unknown_paths_wrong_methods_and_disabled_functions_are_not_found(start_host: StartHost) -> None:
    host = await start_host(ECHO, settings={"AzureWebJobs.off.Disabled": "true"})
    key = {"x-functions-key": host.ready["function_key"]}
    for method, path in (
        ("GET", "/api/nothing-here"),
        ("GET", "/health"),
        ("GET", "/api/models/cats/rollback"),
        ("POST", "/api/models/rollback"),
        ("GET", "/api/off"),
        ("GET", "/runtime/webhooks/blobs"),
    ):
        assert (await ask(host, method, path, headers=key)).status == 404, (method, path)


async def test_the_route_prefix_of_host_json_may_be_empty(start_host: StartHost) -> None:
    host = await start_host(ECHO, host_json={"extensions": {"http": {"routePrefix": ""}}})
    assert (await ask(host, "GET", "/health")).status == 200
    assert (await ask(host, "GET", "/api/health")).status == 404


async def test_text_is_answered_as_text_and_the_context_names_the_function(start_host: StartHost) -> None:
    host = await start_host(ECHO)
    answer = await ask(host, "GET", "/api/who")
    assert (answer.status, answer.body) == (200, b"who 36")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


async def test_a_function_that_raises_is_a_500_without_a_body_and_a_traceback_in_the_log(start_host: StartHost) -> None:
    host = await start_host(ECHO)
    answer = await ask(host, "GET", "/api/raises")
    assert (answer.status, answer.body) == (500, b"")
    assert "RuntimeError: the function's own words" in host.log
    assert "Executed 'Functions.raises' (Failed, Id=" in host.log


async def test_a_function_that_returns_no_response_is_a_500(start_host: StartHost) -> None:
    host = await start_host(ECHO)
    answer = await ask(host, "GET", "/api/nothing")
    assert (answer.status, answer.body) == (500, b"")
    assert "INFO nothing: a line of the app's own" in host.log
    assert 'unsupported type "http" for NoneType' in host.log


async def test_a_client_that_asks_first_is_told_to_go_on_and_a_body_that_is_too_large_is_refused(
    start_host: StartHost,
) -> None:
    host = await start_host(ECHO)
    answer = await ask(
        host,
        "POST",
        "/api/models/cats/rollback",
        headers={"x-functions-key": host.ready["function_key"], "Expect": "100-continue"},
        body=b"x" * 100_000,
    )
    assert answer.status == 202
    port = int(host.ready["url"].rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /api/who HTTP/1.1\r\nHost: x\r\nContent-Length: 220200961\r\n\r\n")
    assert b"413" in await asyncio.wait_for(reader.readline(), 20)
    writer.close()
    await writer.wait_closed()


async def test_requests_beyond_what_may_be_outstanding_get_429(start_host: StartHost) -> None:
    host = await start_host(ECHO, host_json={"extensions": {"http": {"maxOutstandingRequests": 2}}})
    answers = await asyncio.gather(*(ask(host, "GET", "/api/slow?seconds=1") for _ in range(5)))
    assert sorted(answer.status for answer in answers) == [200, 200, 429, 429, 429]
    assert (await ask(host, "GET", "/api/health")).status == 200


@pytest.mark.parametrize(
    ("host_json", "settings"),
    [
        ({"extensions": {"http": {"maxConcurrentRequests": 1}}}, {}),
        ({}, {"PYTHON_THREADPOOL_THREAD_COUNT": "1"}),
    ],
    ids=["maxConcurrentRequests", "one thread"],
)
async def test_requests_beyond_what_may_run_at_once_wait(
    start_host: StartHost, host_json: dict[str, object], settings: dict[str, str]
) -> None:
    host = await start_host(ECHO, host_json=host_json, settings=settings)
    answers = await asyncio.gather(*(ask(host, "GET", "/api/blocking") for _ in range(3)))
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert [record["event"] for record in host.records] == ["begin", "end"] * 3


async def test_a_function_that_takes_too_long_costs_its_client_a_504_and_goes_on(start_host: StartHost) -> None:
    """Azure's limit is 230 s, of the load balancer in front, which the function knows nothing of."""
    host = await start_host(ECHO, arguments=["--http-limit-seconds", "0.3"])
    assert (await ask(host, "GET", "/api/slow?seconds=1.5")).status == 504
    assert await host.recorded(1) == [{"slow": "has ended"}]
    assert (await ask(host, "GET", "/api/health")).status == 200


async def test_a_request_under_way_is_answered_before_the_host_ends(start_host: StartHost) -> None:
    host = await start_host(ECHO)
    under_way = asyncio.create_task(ask(host, "GET", "/api/slow?seconds=1"))
    await asyncio.sleep(0.3)
    assert await host.stop() == 0
    assert (await under_way).body == b"late"
    assert not (host.folder / "ready.json").exists()
