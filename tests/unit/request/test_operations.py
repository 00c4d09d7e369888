"""Predictions that are not waited for: kept, performed once the model is awake, shown, and forgotten."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest
from aiohttp import web

from deployer.calls import Calls, Predictions
from deployer.control import Control
from deployer.deferred import Deferred
from deployer.errors import BadRequest, NotFound, Unavailable
from deployer.http import Request, guarded_async
from deployer.keys import ModelKeys
from deployer.settings import OperationSettings, ProxySettings
from tests.fakes import Effect, FakeOperationQueue, Fault, Killed
from tests.unit.request.pictures import png
from tests.unit.request.proxied import SETTINGS, ModelServer, Slipway, answering

PREDICT = json.dumps({"inputs": {"image_bytes": ["AAAA"]}}).encode()
LATER = {"prefer": "respond-async"}


class Operations(Slipway):
    """The proxy, with operations and keys."""

    def __init__(self, settings: ProxySettings = SETTINGS, kept: OperationSettings | None = None) -> None:
        super().__init__(settings)
        self.operations = FakeOperationQueue(self.world)
        clock = self.world.clock
        self.deferred = Deferred(
            self.documents, self.operations, Predictions(self.proxy, settings), kept or OperationSettings(), clock
        )
        self.keys = ModelKeys(self.state, self.documents, clock, 10, self._seconds)
        control: Control = None  # type: ignore[assignment]  # nothing here asks for a model's document
        self.calls = Calls(self.proxy, self.state, control, self.deferred, self.keys, settings)

    def _seconds(self) -> float:
        return self.world.now.timestamp()

    async def asked(
        self, body: bytes | None = None, params: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> Any:
        """A classification that is not waited for; returns the operation."""
        request = Request("POST", "cats", {**LATER, **(headers or {})}, params or {}, png() if body is None else body)
        answer = await self.calls.classify(request)
        assert answer.status == 202, answer.body
        assert answer.headers["Location"] == answer.headers["Operation-Location"]
        found = json.loads(answer.body)
        assert answer.headers["Location"] == f"/api/operations/{found['id']}"
        return found

    async def look(self, operation: str) -> Any:
        """The operation as its caller sees it."""
        answer = await guarded_async(Request("GET", operation, {}, {}), lambda: self._operation(operation))
        return {**json.loads(answer.body), "later": answer.headers.get("Retry-After"), "http": answer.status}

    async def _operation(self, operation: str) -> Any:
        return await self.calls.operation(Request("GET", operation, {}, {}))

    async def deliver(self) -> int:
        """The platform delivers the messages there are; returns the delay of the last."""
        messages, self.operations.asked = self.operations.asked, []
        for operation, _ in messages:
            await self.calls.perform(operation)
        return messages[-1][1] if messages else 0

    def stored(self) -> list[str]:
        """What is kept of operations."""
        return sorted(name.rpartition(".")[2] for name in self.documents.blobs if name.startswith("operations/"))


@pytest.fixture
async def kept() -> AsyncIterator[Operations]:
    made = Operations()
    yield made
    await made.proxy.close()


async def test_an_operation_of_a_model_that_serves_is_done_at_the_first_look(
    kept: Operations, server: ModelServer
) -> None:
    kept.serve(server.address)
    found = await kept.asked(params={"top": "1", "code": "the-function-key"}, headers={"x-functions-key": "secret"})
    assert found["state"] == "pending"
    assert (await kept.look(found["id"]))["later"] == "5"
    status = next(blob.data for name, blob in kept.documents.blobs.items() if name.endswith(".json") and "oper" in name)
    assert b"secret" not in status and b"the-function-key" not in status
    await kept.deliver()
    done = await kept.look(found["id"])
    assert (done["state"], done["status"], done["later"]) == ("done", 200, None)
    assert done["result"] == {"model": "cats", "version": 1, "predictions": [[{"label": "lynx", "score": 0.9}]]}
    assert kept.stored() == ["json", "result"]


async def test_an_operation_waits_for_its_model_and_wakes_it_once(kept: Operations, server: ModelServer) -> None:
    kept.serve(None, asleep=True)
    operations = [(await kept.asked())["id"] for _ in range(3)]
    assert kept.state.model("cats").asleep  # nobody waits for it yet: the queue's function wakes it
    await kept.deliver()
    await kept.deliver()
    assert len(kept.queue.messages) == 1
    waiting = await kept.look(operations[0])
    assert (waiting["state"], waiting["eta_seconds"], waiting["stage"]) == ("running", 60, "queued")
    assert waiting["later"] == "60"
    assert [delay for _, delay in kept.operations.asked] == [15, 15, 15]
    kept.serve(server.address)
    await kept.deliver()
    assert [(await kept.look(operation))["state"] for operation in operations] == ["done"] * 3


async def test_a_message_that_comes_twice_changes_nothing(kept: Operations, server: ModelServer) -> None:
    kept.serve(server.address)
    found = await kept.asked()
    await kept.calls.perform(found["id"])
    before = await kept.look(found["id"])
    await kept.calls.perform(found["id"])
    assert await kept.look(found["id"]) == before
    assert len(server.asked) == 1


def _of_operations(name: str) -> Callable[[Effect], bool]:
    return lambda effect: effect.name == name and effect.subject.startswith("operations/")


async def test_what_a_killed_instance_left_is_finished_by_another(kept: Operations, server: ModelServer) -> None:
    kept.serve(server.address)
    found = await kept.asked()
    for effect in ("documents.put", "documents.write", "documents.remove"):  # the last: killed once all but tidied up
        kept.world.faults.append(Fault(_of_operations(effect), Killed(), after=effect == "documents.remove"))
        with pytest.raises(Killed):
            await kept.calls.perform(found["id"])
    await kept.calls.perform(found["id"])
    assert (await kept.look(found["id"]))["state"] == "done"


async def test_a_lost_message_is_sent_again_by_the_sweep(kept: Operations, server: ModelServer) -> None:
    kept.serve(server.address)
    found = await kept.asked()
    kept.operations.asked.clear()
    kept.deferred.sweep()
    assert kept.operations.asked == []  # its message may be on the way
    kept.world.pass_time(181)
    kept.deferred.sweep()
    await kept.deliver()
    assert (await kept.look(found["id"]))["state"] == "done"


async def test_operations_are_forgotten(kept: Operations, server: ModelServer) -> None:
    kept.serve(server.address)
    found = await kept.asked()
    await kept.deliver()
    kept.world.pass_time(3601)
    kept.deferred.sweep()
    assert kept.stored() == []
    gone = await kept.look(found["id"])
    assert (gone["http"], gone["error"]["code"]) == (404, "unknown_operation")
    await kept.calls.perform(found["id"])  # a message that comes so late is no error


@pytest.mark.parametrize("name", ["", "x", "cats", "cats.1", "../models/cats", "cats." + "0" * 32, "a" * 500])
async def test_what_is_no_operation_is_not_found(kept: Operations, name: str) -> None:
    assert (await kept.look(name))["http"] == 404
    await kept.calls.perform(name)


async def test_a_refused_prediction_fails_with_its_error(kept: Operations, server: ModelServer) -> None:
    kept.serve(server.address, signatures={"serving_default": {}})
    found = await kept.asked()
    await kept.deliver()
    failed = await kept.look(found["id"])
    assert (failed["state"], failed["status"], failed["error"]["code"]) == ("failed", 409, "no_classifier")
    assert "result" not in failed


async def test_a_model_that_never_wakes_fails_in_the_end(kept: Operations) -> None:
    kept.serve(None, asleep=True)
    found = await kept.asked()
    await kept.deliver()
    kept.world.pass_time(1800)
    await kept.deliver()
    failed = await kept.look(found["id"])
    assert (failed["state"], failed["status"], failed["error"]["code"]) == ("failed", 503, "waking")
    assert kept.operations.asked == []


async def test_a_server_that_does_not_answer_is_asked_a_few_times(kept: Operations) -> None:
    async with ModelServer(answering) as gone:
        kept.serve(gone.address)
    found = await kept.asked()
    for _ in range(4):
        await kept.deliver()
        assert (await kept.look(found["id"]))["state"] == "running"
    await kept.deliver()
    failed = await kept.look(found["id"])
    assert (failed["state"], failed["error"]["code"]) == ("failed", "model_server")


async def test_what_cannot_be_used_is_refused_at_once(kept: Operations, server: ModelServer) -> None:
    kept.serve(server.address)
    for path, params, body in (
        ("cats", {}, b"no image"),
        ("cats", {"top": "x"}, png()),
        ("dogs", {}, png()),
        ("../cats", {}, png()),
    ):
        refused = await kept.calls.classify(Request("POST", path, LATER, params, body))
        assert refused.status == (404 if "dogs" in path or ".." in path else 400)
    assert (await kept.calls.predict(Request("POST", "dogs:predict", LATER, {}, PREDICT))).status == 404
    assert (await kept.calls.predict(Request("POST", "cats:dance", LATER, {}, PREDICT))).status == 400
    assert kept.stored() == []


async def test_only_so_many_operations_wait() -> None:
    kept = Operations(kept=OperationSettings(max_waiting=2))
    kept.serve(None, asleep=True)
    await kept.asked()
    await kept.asked()
    refused = await kept.calls.classify(Request("POST", "cats", LATER, {}, png()))
    assert (refused.status, refused.headers["Retry-After"]) == (429, "15")
    assert json.loads(refused.body)["error"]["code"] == "too_many_operations"
    await kept.proxy.close()


async def test_a_storage_that_fails_takes_no_operation(kept: Operations, server: ModelServer) -> None:
    kept.serve(server.address)
    kept.world.fail("operations.ask", Unavailable("storage", "It is down.", "Wait."))
    refused = await kept.calls.classify(Request("POST", "cats", LATER, {}, png()))
    assert (refused.status, json.loads(refused.body)["error"]["code"]) == (503, "storage")


async def test_with_a_wait_an_answer_in_time_is_no_operation(kept: Operations, server: ModelServer) -> None:
    headers = {"prefer": "respond-async, wait=1"}
    kept.serve(server.address)
    assert (await kept.calls.classify(Request("POST", "cats", headers, {}, png()))).status == 200
    assert (await kept.calls.predict(Request("POST", "cats:predict", headers, {}, PREDICT))).status == 200
    kept.serve(None, asleep=True)
    assert (await kept.calls.classify(Request("POST", "cats", headers, {}, png()))).status == 202
    assert (await kept.calls.predict(Request("POST", "cats:predict", headers, {}, PREDICT))).status == 202


async def test_tensorflow_servings_answer_is_the_result(kept: Operations) -> None:
    async def nan(_: web.Request) -> web.StreamResponse:
        return web.Response(body=b'{"outputs": [NaN, 1.5]}', content_type="application/json")

    async with ModelServer(nan) as server:
        kept.serve(server.address)
        answer = await kept.calls.predict(Request("POST", "cats:predict", LATER, {}, PREDICT))
        assert answer.headers["Preference-Applied"] == "respond-async"
        operation = json.loads(answer.body)["id"]
        await kept.deliver()
        assert (await kept.look(operation))["result"] == {"outputs": [None, 1.5]}
        assert server.asked[0][1] == orjson.loads(PREDICT)


async def test_tensorflow_servings_error_is_the_error(kept: Operations) -> None:
    async def refusing(_: web.Request) -> web.StreamResponse:
        return web.json_response({"error": "Missing 'inputs' key"}, status=400)

    async with ModelServer(refusing) as server:
        kept.serve(server.address)
        answer = await kept.calls.predict(Request("POST", "cats:predict", LATER, {}, PREDICT))
        await kept.deliver()
        failed = await kept.look(json.loads(answer.body)["id"])
        assert (failed["state"], failed["status"]) == ("failed", 400)
        assert failed["error"]["message"] == "Missing 'inputs' key"


async def keyed(kept: Operations, method: str, path: str, key: str | None, body: bytes = b"", **headers: str) -> Any:
    sent = {**headers, **({"x-slipway-key": key} if key is not None else {})}
    request = Request(method, path, sent, {}, body)
    return await guarded_async(request, lambda: kept.calls.keyed(request))


async def test_a_models_key_opens_its_predictions_and_no_other_models(kept: Operations, server: ModelServer) -> None:
    kept.serve(server.address)
    kept.state.change("dogs", lambda record: record.but(desired=None))
    key = kept.keys.add("cats", "alice")["key"]
    other = kept.keys.add("dogs", "alice")["key"]
    assert (await keyed(kept, "POST", "classify/cats", key, png())).status == 200
    assert (await keyed(kept, "POST", "v1/models/cats:predict", key, PREDICT)).status == 200
    later = await keyed(kept, "POST", "classify/cats", key, png(), **LATER)
    assert later.headers["Location"].startswith("/api/keyed/operations/cats.")
    operation = later.headers["Location"].removeprefix("/api/keyed/")
    assert (await keyed(kept, "GET", operation, key)).status == 200
    for method, path in (
        ("POST", "classify/cats"), ("POST", "v1/models/cats:predict"), ("GET", operation), ("GET", "v1/models/cats"),
        ("GET", "models/cats/openapi.json"), ("POST", "v1/models/"), ("GET", "operations/x"), ("POST", "classify/x/y"),
        ("POST", "classify/nothing"), ("POST", "classify/..%2f"),
    ):  # fmt: skip
        for given in (None, "", other, key[:-1], key + "x", "slw-" + "A" * 43, "é"):
            answer = await keyed(kept, method, path, given, png())
            assert answer.status == (404 if path == "classify/x/y" else 401), (path, given)
    assert len(server.asked) == 2


async def test_a_key_opens_nothing_but_predictions(kept: Operations, server: ModelServer) -> None:
    kept.serve(server.address)
    key = kept.keys.add("cats", "alice")["key"]
    for method, path in (
        ("GET", "models/cats"),
        ("GET", "cluster"),
        ("POST", "keys/cats"),
        ("GET", "classify/cats"),
        ("GET", ""),
    ):
        assert (await keyed(kept, method, path, key)).status == 404


async def test_a_key_is_kept_as_a_salted_digest_only(kept: Operations) -> None:
    kept.serve("http://127.0.0.1:1")
    keys = [kept.keys.add("cats", name)["key"] for name in ("alice", "bob")]
    stored = kept.documents.blobs["keys/cats.json"].data.decode()
    document = json.loads(stored)
    assert not any(key.removeprefix("slw-") in stored for key in keys)
    assert len({item["salt"] for item in document["keys"]}) == 2
    assert [item["name"] for item in kept.keys.listed("cats")["keys"]] == ["alice", "bob"]
    assert "digest" not in json.dumps(kept.keys.listed("cats"))


async def test_a_removed_key_opens_nothing_after_the_stated_seconds(kept: Operations, server: ModelServer) -> None:
    kept.serve(server.address)
    key = kept.keys.add("cats", "alice")["key"]
    assert (await keyed(kept, "POST", "classify/cats", key, png())).status == 200
    assert kept.keys.remove("cats", "alice")["keys"] == []
    kept.world.pass_time(10)
    assert (await keyed(kept, "POST", "classify/cats", key, png())).status == 401


async def test_strangers_cost_one_look_at_storage_for_each_model_and_window(kept: Operations) -> None:
    kept.serve("http://127.0.0.1:1")
    for _ in range(20):
        await keyed(kept, "POST", "classify/cats", "slw-" + "A" * 43)
    assert len(kept.world.times("documents.read", "keys/cats.json")) == 1


@pytest.mark.parametrize("name", ["", "A", "a b", "a/b", "x" * 41, "-a", "é"])
async def test_a_keys_name_is_plain(kept: Operations, name: str) -> None:
    kept.serve("http://127.0.0.1:1")
    with pytest.raises(BadRequest) as refused:
        kept.keys.add("cats", name)
    assert refused.value.code == "bad_key_name"


async def test_keys_are_refused_by_what_is_wrong(kept: Operations) -> None:
    kept.serve("http://127.0.0.1:1")
    kept.keys.add("cats", "alice")
    with pytest.raises(BadRequest, match="has a key named") as twice:
        kept.keys.add("cats", "alice")
    assert (twice.value.code, twice.value.status) == ("key_exists", 409)
    with pytest.raises(NotFound, match="no key named"):
        kept.keys.remove("cats", "bob")
    for model in ("dogs", "../x", ""):
        with pytest.raises(NotFound):
            kept.keys.add(model, "alice")
