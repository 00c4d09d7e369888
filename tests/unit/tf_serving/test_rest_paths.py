"""Paths of the REST API: TensorFlow Serving's http_rest_api_util.cc."""

import pytest

from localcloud.tf_serving.errors import Code, ServingError
from localcloud.tf_serving.rest_path import Call, Target, parse


@pytest.mark.parametrize(
    ("method", "path", "call"),
    [
        ("POST", "/v1/models/m:predict", Call("predict", Target("m"))),
        ("POST", "/V1/Models/m:classify", Call("classify", Target("m"))),
        ("POST", "/v1/models/m/versions/00007:regress", Call("regress", Target("m", version=7))),
        ("POST", "/v1/models/m/labels/stable:predict", Call("predict", Target("m", label="stable"))),
        ("POST", "/v1/models/a%2Fb%20c:predict", Call("predict", Target("a/b c"))),
        ("GET", "/v1/models/m", Call("status", Target("m"))),
        ("GET", "/v1/models/m/versions/9223372036854775807", Call("status", Target("m", version=2**63 - 1))),
        ("GET", "/v1/models/m/labels/a%3Ab", Call("status", Target("m", label="a:b"))),
        ("GET", "/v1/models/m/versions/3/metadata", Call("metadata", Target("m", version=3))),
    ],
)
def test_a_known_path_names_action_and_model(method: str, path: str, call: Call) -> None:
    assert parse(method, path) == call


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/v1/modelss"),
        ("GET", "/v1/models/m:predict"),
        ("POST", "/v1/models/m"),
        ("POST", "/v1/models/m:explain"),
        ("POST", "/v1/models/m:PREDICT"),
        ("POST", "/v1/models/m/versions/one:predict"),
        ("POST", "/v1/models/m/versions/٣:predict"),  # RE2's \d is ASCII
        ("POST", "/v1/models/m/versions/1/labels/x:predict"),
        ("DELETE", "/v1/models/m"),
        ("GET", "/v1/models/m/metadata/"),
        ("POST", "/v1/models/m:predict/"),
    ],
)
def test_any_other_path_or_method_is_a_malformed_request(method: str, path: str) -> None:
    with pytest.raises(ServingError) as caught:
        parse(method, path)
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert caught.value.message == f"Malformed request: {method} {path}"


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/metadata/versions/1/metadata/x"])
def test_a_path_without_a_model_says_so_or_is_malformed(path: str) -> None:
    with pytest.raises(ServingError, match=r"Missing model name in request\.|Malformed request"):
        parse("GET", path)


def test_the_list_of_all_models_is_not_offered() -> None:
    with pytest.raises(ServingError) as caught:
        parse("GET", "/v1/models")
    assert caught.value.message == "Missing model name in request."


def test_a_version_that_is_no_64_bit_number_is_refused() -> None:
    with pytest.raises(ServingError) as caught:
        parse("GET", f"/v1/models/m/versions/{2**64}")
    assert caught.value.code.http_status == 400
    assert caught.value.message == f"Failed to convert version: {2**64} to numeric."
