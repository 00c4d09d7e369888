"""What a classification request may look like, and what is said of one that cannot be used."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.errors import BadRequest, NotFound, SlipwayError, Waking
from deployer.http import Reply, classify_request, failure, guarded, reply
from deployer.images import images_in, predictions, request_body

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))  # its base64 has both '+' and '/'
JPEG = b"\xff\xd8\xff\xe0 and so on"


def body_of(document: object) -> bytes:
    return json.dumps(document).encode()


@pytest.mark.parametrize("image", [PNG, JPEG, b"GIF89a", b"BM1234"])
@pytest.mark.parametrize("kind", ["image/png", "", "application/octet-stream", "application/x-www-form-urlencoded"])
def test_a_raw_body_is_one_image(image: bytes, kind: str) -> None:
    assert images_in(kind, image) == [image]


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("strip", [b"", b"="], ids=["padded", "unpadded"])
@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", "application/problem+json"])
def test_json_carries_base64_of_either_alphabet(encode: object, strip: bytes, kind: str) -> None:
    assert callable(encode)
    text = encode(PNG).rstrip(strip or b" ").decode()
    assert images_in(kind, body_of({"image": text})) == [PNG]
    assert images_in(kind, body_of({"images": [text, text]})) == [PNG, PNG]


@pytest.mark.parametrize(
    ("kind", "body", "code", "status"),
    [
        ("image/png", b"", "no_image", 400),
        ("image/png", b"hello", "bad_image", 400),
        ("image/webp", b"RIFF....WEBP", "bad_image", 400),
        ("multipart/form-data; boundary=x", b"--x--", "unsupported_media_type", 415),
        ("application/json", b"{", "bad_json", 400),
        ("application/json", b"\xff", "bad_json", 400),
        ("application/json", b"[]", "no_image", 400),
        ("application/json", b'{"img": "x"}', "no_image", 400),
        ("application/json", b'{"images": []}', "no_image", 400),
        ("application/json", b'{"image": 5}', "no_image", 400),
        ("application/json", b'{"images": [5]}', "bad_base64", 400),
        ("application/json", b'{"image": "a*b"}', "bad_base64", 400),
        ("application/json", b'{"image": "abcde"}', "bad_base64", 400),
        ("application/json", '{"image": "größe"}'.encode(), "bad_base64", 400),
        ("application/json", b'{"image": "aGVsbG8="}', "bad_image", 400),
    ],
)
def test_what_cannot_be_used_is_refused(kind: str, body: bytes, code: str, status: int) -> None:
    with pytest.raises(BadRequest) as refused:
        images_in(kind, body)
    assert (refused.value.code, refused.value.status) == (code, status)
    assert refused.value.hint


def test_the_image_that_is_none_is_named_by_its_place() -> None:
    with pytest.raises(BadRequest, match=r"images\[1\] is no JPEG"):
        images_in("application/json", body_of({"images": [base64.b64encode(PNG).decode(), "aGVsbG8="]}))


@given(st.sampled_from(["application/json", "image/png"]), st.binary(max_size=60) | st.text(max_size=40).map(body_of))
def test_any_body_is_read_or_refused(kind: str, body: bytes) -> None:
    try:
        assert images_in(kind, body)
    except BadRequest as refused:
        assert refused.status in (400, 415)


@given(st.binary(min_size=1, max_size=64).map(lambda tail: PNG + tail))
def test_what_goes_to_tensorflow_serving_is_the_image_itself(image: bytes) -> None:
    sent = json.loads(request_body([image, image]))
    assert sent["signature_name"] == "classify_image"
    assert [base64.b64decode(item["b64"]) for item in sent["inputs"]["image_bytes"]] == [image, image]


@pytest.mark.parametrize(
    ("headers", "params", "top", "hold"),
    [
        ({}, {}, None, 0.0),
        ({}, {"top": "3"}, 3, 0.0),
        ({"prefer": "wait=30"}, {}, None, 30.0),
        ({"prefer": "respond-async, wait=10"}, {}, None, 10.0),
        ({"prefer": "handling=lenient; wait=7"}, {}, None, 7.0),
        ({"prefer": "wait=soon"}, {}, None, 0.0),
        ({"prefer": "await=30"}, {}, None, 0.0),
    ],
)
def test_top_and_prefer_are_read(headers: dict[str, str], params: dict[str, str], top: int | None, hold: float) -> None:
    asked = classify_request(headers, params, PNG, max_bytes=1000)
    assert (asked.images, asked.top, asked.hold_seconds) == ([PNG], top, hold)


@pytest.mark.parametrize("top", ["0", "-1", "x", "", "1.5", "٣", "9" * 5000])
def test_a_top_that_is_no_number_of_classes_is_refused(top: str) -> None:
    with pytest.raises(BadRequest, match="top=") as refused:
        classify_request({}, {"top": top}, PNG, max_bytes=1000)
    assert refused.value.code == "bad_parameter"
    assert len(refused.value.message) < 200


def test_a_body_beyond_the_bound_is_refused() -> None:
    with pytest.raises(BadRequest) as refused:
        classify_request({}, {}, PNG, max_bytes=len(PNG) - 1)
    assert (refused.value.code, refused.value.status) == ("too_large", 413)


def test_predictions_are_named_classes_best_first() -> None:
    outputs = {"labels": [["lynx", "cat"], ["cat", "lynx"]], "scores": [[0.9, 0.1], [0.8, 0.2]]}
    assert predictions(outputs, 1) == [[{"label": "lynx", "score": 0.9}], [{"label": "cat", "score": 0.8}]]
    assert [len(classes) for classes in predictions(outputs, None)] == [2, 2]


def test_a_wake_says_when_to_come_back() -> None:
    answer = failure(Waking("It sleeps.", eta_seconds=240, stage="gpu-node"))
    assert (answer.status, answer.headers) == (503, {"Retry-After": "240"})
    error = json.loads(answer.body)["error"]
    assert (error["code"], error["eta_seconds"], error["stage"]) == ("waking", 240, "gpu-node")


def test_an_error_has_the_shape_of_all_errors() -> None:
    def missing() -> Reply:
        raise NotFound("unknown_model", "There is none.", "Drop one.")

    answer = guarded(missing)
    assert answer.status == 404
    assert json.loads(answer.body) == {
        "error": {"code": "unknown_model", "message": "There is none.", "hint": "Drop one."}
    }


def test_a_bug_tells_its_number_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    def bug() -> Reply:
        raise RuntimeError("secret")

    answer = guarded(bug)
    text = answer.body.decode()
    assert answer.status == 500
    assert "secret" not in text
    assert caplog.records[-1].getMessage().split()[-1] in text


def test_an_answer_is_json() -> None:
    assert reply({"a": 1}, 202) == Reply(202, b'{"a":1}')
    assert issubclass(NotFound, SlipwayError)
