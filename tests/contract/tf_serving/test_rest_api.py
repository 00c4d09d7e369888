"""The REST API against TensorFlow Serving's own test models; values from their definition, y = x/2 + 2 or + 3."""

import json
import math
from collections.abc import Iterator

import pytest

from tests.contract.tf_serving.model_server import TESTDATA, ModelServer, Reply, model_server

MODELS = """
model_config_list {
  config { name: "half_plus_two" base_path: "/models/saved_model_half_plus_two_2_versions" model_platform: "tensorflow"
           model_version_policy { all {} }
           version_labels { key: "stable" value: 123 } version_labels { key: "gone" value: 9 } }
  config { name: "half_plus_three" base_path: "/models/saved_model_half_plus_three" model_platform: "tensorflow" }
  config { name: "counter" base_path: "/models/saved_model_counter" model_platform: "tensorflow" }
  config { name: "mlmd" base_path: "/models/saved_model_half_plus_two_mlmd" model_platform: "tensorflow" }
  config { name: "tf2" base_path: "/models/saved_model_half_plus_two_tf2_cpu" model_platform: "tensorflow" }
  config { name: "default" base_path: "/models/saved_model_half_plus_two_cpu" model_platform: "tensorflow"
           model_version_policy { specific { versions: 123 } } }
}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "models.config").write_text(MODELS)
    with model_server(
        folder / "log", "--port=8500", "--model_config_file=/config/models.config",
        "--allow_version_labels_for_unavailable_models", "--enable_batching",
        "--batching_parameters_file=/models/batching_config.txt", "--monitoring_config_file=/models/monitoring_config.txt",
        mounts={"/models": TESTDATA, "/config": folder},
    ) as started:  # fmt: skip
        for model in ("half_plus_two", "half_plus_three", "counter", "mlmd", "tf2", "default"):
            started.wait_for(model, v123="AVAILABLE")
        started.wait_for("half_plus_two", v124="AVAILABLE")
        yield started


def failure(reply: Reply) -> tuple[int, str]:
    assert reply.headers["Content-Type"] == "application/json"
    return reply.status, reply.error


@pytest.mark.parametrize(
    ("model", "plus"), [("half_plus_two", 2), ("half_plus_three", 3), ("mlmd", 2), ("tf2", 2), ("default", 2)]
)
def test_predict_answers_in_the_layout_of_the_request(server: ModelServer, model: str, plus: int) -> None:
    xs = [1.0, 2.5, -4.0] if model != "tf2" else [7.0]  # tf2's signature takes one number
    expected = [x / 2 + plus for x in xs]
    assert server.post(f"{model}:predict", {"instances": xs}).json == {"predictions": expected}
    assert server.post(f"{model}:predict", {"inputs": {"x": xs}}).json == {"outputs": expected}


def test_the_body_is_laid_out_as_the_real_server_does(server: ModelServer) -> None:
    reply = server.post("half_plus_two:predict", {"instances": [1.0, 2.0, 5.0]})
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")
    assert reply.text == '{\n    "predictions": [2.5, 3.0, 4.5\n    ]\n}'


def test_a_shape_that_the_signature_does_not_name_is_the_graphs_business(server: ModelServer) -> None:
    # the signature says [-1, 1]; TensorFlow Serving feeds what comes
    assert server.post("half_plus_two:predict", {"inputs": 2.0}).json == {"outputs": 3.0}
    assert server.post("half_plus_two:predict", {"inputs": [[[2.0]]]}).json == {"outputs": [[[3.0]]]}


def test_versions_and_labels_choose_the_model(server: ModelServer) -> None:
    for path in ("half_plus_two/versions/123", "half_plus_two/versions/00124", "half_plus_two/labels/stable"):
        assert server.post(f"{path}:predict", {"instances": [2.0]}).json == {"predictions": [3.0]}
    assert server.request("POST", "/V1/MODELS/half_plus_two:predict", '{"instances": [2]}').status == 200
    assert server.request("POST", "/v1/models/half%5Fplus_two:predict", '{"instances": [2]}').status == 200


def test_nan_and_infinity_pass_through(server: ModelServer) -> None:
    reply = server.post("half_plus_two:predict", '{"instances": [NaN, Infinity, -Infinity]} trailing')
    assert "[NaN, Infinity, -Infinity\n" in reply.text
    assert math.isnan(json.loads(reply.text)["predictions"][0])


def test_classify_and_regress_answer_results(server: ModelServer) -> None:
    body: dict[str, object] = {"signature_name": "classify_x_to_y", "examples": [{"x": 1.0}, {"x": [2.0]}]}
    assert server.post("half_plus_two:classify", body).json == {"results": [[["", 2.5]], [["", 3.0]]]}
    body = {"signature_name": "regress_x_to_y", "context": {"x": 4.0}, "examples": [{}, {"x": 2.0}]}
    assert server.post("half_plus_two:regress", body).json == {"results": [4.0, 3.0]}
    body = {"signature_name": "regress_x_to_y2", "examples": [{"x": 2.0}]}
    assert server.post("half_plus_two:regress", body).json == {"results": [4.0]}  # y2 = x/2 + 3


def test_a_stateful_model_counts_its_requests(server: ModelServer) -> None:
    body = {"signature_name": "incr_counter_by", "inputs": 2.0}
    first = server.post("counter:predict", body).json["outputs"]
    assert server.post("counter:predict", body).json["outputs"] == first + 2.0


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("none:predict", {"instances": [1]}, 404, "Servable not found for request: Latest(none)"),
        (
            "half_plus_two/versions/99:predict", {"instances": [1]}, 404,
            "Servable not found for request: Specific(half_plus_two, 99)",
        ),
        (
            "half_plus_two/labels/gone:predict", {"instances": [1]}, 404,
            "Servable not found for request: Specific(half_plus_two, 9)",
        ),
        ("half_plus_two/labels/x:predict", {"instances": [1]}, 400, "Unrecognized servable version label: x"),
        ("half_plus_two:predict", b"", 400, "JSON Parse error: The document is empty"),
        ("none:predict", b"", 400, "JSON Parse error: The document is empty"),
        ("half_plus_two:predict", b'{"x": ?}', 400, "JSON Parse error: Invalid value. at offset: 6"),
        ("half_plus_two:predict", {}, 400, "Missing 'inputs' or 'instances' key"),
        (
            "half_plus_two:predict", {"signature_name": "s", "instances": [1]}, 400,
            'Serving signature name: "s" not found in signature def',
        ),
        (
            "half_plus_two:predict", {"instances": [1, "a"]}, 400,
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "
            'JSON Value: "a" Type: String is not of expected type: float',
        ),
        (
            "half_plus_two:classify", {"examples": [{"x": 1.0}]}, 400,
            "Expected classification signature method_name to be tensorflow/serving/classify. "
            "Was: tensorflow/serving/predict",
        ),
        (
            "half_plus_two:regress", {"signature_name": "s", "examples": [{"x": 1.0}]}, 400,
            "No signature was found with the name: s",
        ),
        (
            "counter:predict", {"signature_name": "incr_counter", "inputs": 1}, 400,
            "Failed to get input map for signature: incr_counter",
        ),
    ],
)  # fmt: skip
def test_a_request_that_cannot_be_answered_gets_the_real_servers_words(
    server: ModelServer, path: str, body: object, status: int, message: str
) -> None:
    assert failure(server.post(path, body)) == (status, message)


def test_the_graphs_own_error_is_passed_on(server: ModelServer) -> None:
    body = {"signature_name": "regress_x_to_y", "examples": [{"x": [1.0, 2.0]}]}
    status, message = failure(server.post("half_plus_two:regress", body))
    assert status == 400
    assert "Key: x" in message


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        ("GET", "/v1/models", "Missing model name in request."),
        ("PUT", "/v1/models/half_plus_two", "Malformed request: PUT /v1/models/half_plus_two"),
        ("GET", "/v1/models/half_plus_two:predict", "Malformed request: GET /v1/models/half_plus_two:predict"),
        ("GET", "/elsewhere?x=1", "Malformed request: GET /elsewhere"),
        ("GET", f"/v1/models/m/versions/{2**64}", f"Failed to convert version: {2**64} to numeric."),
    ],
)
def test_a_path_that_is_none_is_malformed(server: ModelServer, method: str, path: str, message: str) -> None:
    assert failure(server.request(method, path)) == (400, message)


def test_status_lists_versions_newest_first(server: ModelServer) -> None:
    ok = {"error_code": "OK", "error_message": ""}
    newest, oldest = ({"version": v, "state": "AVAILABLE", "status": ok} for v in ("124", "123"))
    assert server.get("half_plus_two").json == {"model_version_status": [newest, oldest]}
    for path in ("half_plus_two/versions/123", "half_plus_two/labels/stable"):
        assert server.get(path).json == {"model_version_status": [oldest]}


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("none", 404, "Could not find any versions of model none"),
        ("half_plus_two/versions/9", 404, "Could not find version 9 of model half_plus_two"),
        ("half_plus_two/labels/x", 400, "Unrecognized servable version label: x"),
        ("none/metadata", 404, "Servable not found for request: Latest(none)"),
        ("half_plus_two/versions/9/metadata", 404, "Servable not found for request: Specific(half_plus_two, 9)"),
    ],
)
def test_what_is_not_there_is_not_found(server: ModelServer, path: str, status: int, message: str) -> None:
    assert failure(server.get(path)) == (status, message)


@pytest.mark.parametrize(
    ("model", "path", "file"),
    [
        ("default", "default", "half_plus_two_model_metadata.json"),
        (
            "saved_model_half_plus_two_2_versions",
            "half_plus_two/versions/123",
            "saved_model_half_plus_two_2_versions_metadata.json",
        ),
    ],
)
def test_metadata_is_that_of_the_real_server(server: ModelServer, model: str, path: str, file: str) -> None:
    found = server.get(f"{path}/metadata").json
    found["model_spec"]["name"] = model
    assert found == json.loads((TESTDATA / file).read_text())


def test_prometheus_counts_requests_and_loads(server: ModelServer) -> None:
    line = ':tensorflow:serving:request_count{model_name="half_plus_three",status="OK"} '

    def count() -> int:
        reply = server.request("GET", "/monitoring/prometheus/metrics")
        assert reply.headers["Content-Type"].startswith("text/plain")
        found = [text.removeprefix(line) for text in reply.text.splitlines() if text.startswith(line)]
        return int(found[0]) if found else 0

    before = count()
    server.post("half_plus_three:predict", {"instances": [1.0]})
    assert count() == before + 1
    page = server.request("GET", "/monitoring/prometheus/metrics").text
    path = "/models/saved_model_half_plus_three/00000123"
    assert f':tensorflow:cc:saved_model:load_attempt_count{{model_path="{path}",status="success"}} 1' in page


def test_the_log_says_that_grpc_is_not_served(server: ModelServer) -> None:
    assert "gRPC is not served, port 8500 stays closed" in server.log.read_text()
