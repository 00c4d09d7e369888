"""Drives Microsoft's Python worker library as the Functions host does, and prints what it answered as JSON.

Runs in the worker's own environment (Python 3.13): ``python drive_worker.py APP_FOLDER``. The library is handed its
protobuf types by the proxy process that hosts it on Azure; here they are plain objects with the same fields.
"""

import asyncio
import json
import sys
from types import SimpleNamespace
from typing import Any

import azure_functions_runtime as worker  # type: ignore[import-not-found]  # only in the worker's environment

HEAVY = ("tensorflow", "keras", "exporter.convert")


class Message(SimpleNamespace):
    """A protobuf message: its fields as given."""

    def WhichOneof(self, _: str) -> str | None:  # noqa: N802  (protobuf's name)
        """The one field that is set."""
        return next((name for name in vars(self) if name != "name"), None)


class BindingInfo(Message):
    """FunctionRpc.proto's BindingInfo, with its two enums."""

    undefined = 0
    out = 1
    inout = 2


class StatusResult(Message):
    """FunctionRpc.proto's StatusResult."""

    Failure = 0
    Success = 1


PLAIN = (
    "FunctionLoadResponse", "FunctionMetadataResponse", "InvocationResponse", "ParameterBinding", "RpcException",
    "RpcFunctionMetadata", "RpcHttp", "RpcRetryOptions", "TypedData", "WorkerInitResponse", "WorkerMetadata",
)  # fmt: skip
PROTOS = SimpleNamespace(BindingInfo=BindingInfo, StatusResult=StatusResult, **dict.fromkeys(PLAIN, Message))


def request(kind: str, **fields: Any) -> SimpleNamespace:
    """A StreamingMessage with this request, as the proxy wraps it."""
    properties = {"host": "127.0.0.1", "protos": PROTOS}
    return SimpleNamespace(request=SimpleNamespace(**{kind: SimpleNamespace(**fields)}), properties=properties)


def check(response: Any) -> Any:
    """The response, where its status is Success."""
    if response.result.status != StatusResult.Success:
        raise SystemExit(f"{response.result.exception.message}\n{response.result.exception.stack_trace}")
    return response


def http_get(name: str, path: str) -> Message:
    """The input data of an HTTP trigger."""
    url = f"http://localhost{path}"
    http = Message(method="GET", url=url, headers={}, params={}, query={}, body=Message())
    return Message(name=name, data=Message(http=http))


async def drive(folder: str) -> dict[str, Any]:
    """Start, index, load every function, invoke ``health``."""
    check(
        await worker.worker_init_request(request("worker_init_request", capabilities={}, function_app_directory=folder))
    )
    metadata = check(await worker.functions_metadata_request(request("functions_metadata_request")))
    functions = {function.name: function for function in metadata.function_metadata_results}
    for function in functions.values():
        load = request("function_load_request", function_id=function.function_id, metadata=function)
        assert check(await worker.function_load_request(load)).function_id == function.function_id
    return {
        "functions": {name: [json.loads(raw) for raw in function.raw_bindings] for name, function in functions.items()},
        "health": await invoke_health(functions["health"]) if "health" in functions else None,
        "heavy": [name for name in HEAVY if name in sys.modules],
    }


async def invoke_health(function: Message) -> dict[str, Any]:
    """GET /api/health through the worker."""
    trigger = next(name for name, binding in function.bindings.items() if binding.type == "httpTrigger")
    worker.start_threadpool_executor()
    try:
        response = check(
            await worker.invocation_request(
                request(
                    "invocation_request", invocation_id="1", function_id=function.function_id,
                    input_data=[http_get(trigger, "/api/health")], trigger_metadata={},
                    trace_context=SimpleNamespace(trace_parent="", trace_state="", attributes={}),
                    retry_context=SimpleNamespace(retry_count=0, max_retry_count=0, exception=None),
                )
            )
        )  # fmt: skip
    finally:
        worker.stop_threadpool_executor()
    http = response.return_value.http
    body = http.body.bytes if hasattr(http.body, "bytes") else http.body.string
    return {"status": http.status_code, "body": json.loads(body)}


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    sys.stdout.write(json.dumps(asyncio.run(drive(sys.argv[1]))) + "\n")
