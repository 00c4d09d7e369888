"""Whatever is sent, the answer is a 4xx that says why, in the shape of all errors: never a 5xx, never a hang.

Only where no function is reached (no such path, a request that is no HTTP) does the host answer for itself, without a body of
that shape, as Azure's does.
"""

import base64
import gzip
import json
import os

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.functional.request_path.served import Answer, Served
from tests.unit.request.pictures import bmp, gif, jpeg, png

# FUZZ_EXAMPLES: more of them, for a longer search; --hypothesis-seed=0 for one that can be repeated.
fuzz = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "120")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

IMAGES = [png(), jpeg(), gif(), bmp()]
KINDS = [
    "image/png", "application/json", "multipart/form-data; boundary=b", "multipart/form-data", "text/html", "",
    "application/x-www-form-urlencoded", "multipart/form-data; boundary=\"", "application/json; charset=utf-16",
]  # fmt: skip
PIECES = st.sampled_from(
    ["cats", "numbers", "..", ".", "%2F", "%2f..%2f", "%00", "%0d%0aX:%20y", "%2e%2e", "/", "//", ":predict", ":", "/versions/1",
     "/versions/0", "/labels/stable", "/labels/%C3%A9", "/metadata", "%", "%zz", "%ff", "\\", "~", ";", "*", "%25", "+", "@"]
)  # fmt: skip
HEADER_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=80)
MULTIPART = st.lists(
    st.sampled_from(
        [b"--b", b"--b--", b"\r\n", b"\n", b"\r", b'Content-Disposition: form-data; name="a"; filename="f"', b"--", b"b", b" ",
         b"Content-Disposition: form-data", b"Content-Disposition: ;;;=", b": x", b"\r\n\r\n", png(), b"\xff\xfe", b"x" * 300,
         b'Content-Disposition: form-data; name="a"; filename*=utf-8\'\'%E2%82']
    ),
    max_size=14,
).map(b"".join)  # fmt: skip
BASE64 = st.one_of(
    st.text("ABCxyz019+/-_= \n", max_size=40), st.text(max_size=20),
    st.binary(max_size=60).map(lambda b: base64.b64encode(b).decode()),
    st.sampled_from(["data:", "data:;base64,", "data:image/png;base64,!", "data:image/png,AAAA",
                     base64.b64encode(png()).decode()]),
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | BASE64,
    lambda inner: (
        st.lists(inner, max_size=6) | st.dictionaries(st.sampled_from(["image", "images", "url", "b64", ""]), inner)
    ),
    max_leaves=8,
)


def check(answer: Answer, *, function: bool = True) -> None:
    """200, or a 4xx with the shape of errors; ``function``: a function was surely reached."""
    assert answer.status == 200 or 400 <= answer.status < 500, (answer.status, answer.body)
    if answer.status != 200 and (function or answer.body):
        assert answer.code


@given(
    kind=st.sampled_from(KINDS),
    body=st.binary(max_size=400) | st.sampled_from(IMAGES) | MULTIPART | JSON.map(json.dumps).map(str.encode),
)
@fuzz
def test_any_body_with_any_content_type(served: Served, kind: str, body: bytes) -> None:
    check(served.classify(body, kind))


@given(body=MULTIPART, boundary=st.sampled_from(["b", '"b"', "x", "--b", "b b", "'", "b" * 70, "b" * 71, "=", "ü"]))
@example(body=b"--b\r\n" * 5000, boundary="b")
@example(body=b"-" * 100_000, boundary="-")
@example(body=b"--b" + b" " * 100_000, boundary="b")
@example(body=b"--b\r\n" + b"A: b\r\n" * 20_000, boundary="b")
@fuzz
def test_any_form(served: Served, body: bytes, boundary: str) -> None:
    check(served.classify(body, f"multipart/form-data; boundary={boundary}"))


@given(document=JSON)
@example(document={"image": base64.b64encode(png()).decode()})
@example(document={"images": [base64.b64encode(png()).decode()] * 5})
@fuzz
def test_any_json(served: Served, document: object) -> None:
    check(served.classify(json.dumps(document).encode(), "application/json"))


@given(text=st.sampled_from(["image", "images"]), value=BASE64)
@fuzz
def test_any_base64(served: Served, text: str, value: str) -> None:
    check(served.classify(json.dumps({text: value if text == "image" else [value]}).encode(), "application/json"))


@given(name=st.sampled_from(["top", "version", "min_score", "x", "code", "wait"]), value=st.text(max_size=30))
@fuzz
def test_any_parameter(served: Served, name: str, value: str) -> None:
    quoted = "".join(f"%{byte:02x}" for byte in value.encode("utf-8", "surrogatepass"))
    check(served.classify(png(), query=f"?{name}={quoted}"))


@given(
    base=st.sampled_from(["/api/classify/", "/api/v1/models/", "/api/models/", "/api/classify"]),
    method=st.sampled_from(["GET", "POST"]),
    pieces=st.lists(PIECES, max_size=5),
)
@fuzz
def test_any_path(served: Served, base: str, method: str, pieces: list[str]) -> None:
    check(served.ask(method, base + "".join(pieces), png() if method == "POST" else b""), function=False)


@given(
    name=st.sampled_from(
        [
            "Prefer",
            "X-Request-ID",
            "X-Slipway-Session",
            "Content-Type",
            "Content-Encoding",
            "Accept",
            "Accept-Encoding",
            "X-Forwarded-For",
            "Cookie",
            "Host",
            "Expect",
            "traceparent",
        ]
    ),
    value=HEADER_TEXT,
)
@example(name="Prefer", value="wait=" + "9" * 50)
@example(name="X-Request-ID", value="x" * 7000)
@example(name="Content-Type", value="multipart/form-data" + "; a=b" * 1000)
@example(name="Content-Type", value='multipart/form-data; boundary="' + "\\" * 5000)
@fuzz
def test_any_header(served: Served, name: str, value: str) -> None:
    check(served.ask("POST", "/api/classify/cats", png(), {name: value}), function=False)


@given(
    body=st.binary(max_size=100),
    headers=st.dictionaries(st.sampled_from(["Content-Type", "Content-Encoding", "Accept"]), HEADER_TEXT),
)
@fuzz
def test_any_body_for_tensorflow_serving(served: Served, body: bytes, headers: dict[str, str]) -> None:
    answer = served.ask("POST", "/api/v1/models/cats:predict", body, headers)
    assert answer.status in (200, 400)
    assert "error" in answer.json or "outputs" in answer.json


@given(
    raw=st.binary(max_size=200)
    | st.sampled_from([b"GET", b"POST /api/classify/cats HTTP/9.9", b"\x16\x03\x01\x02\x00\x01"])
)
@fuzz
def test_what_is_no_http_ends_with_a_400_and_harms_nobody(served: Served, raw: bytes) -> None:
    answer = served.exchange(raw.replace(b"\r\n\r\n", b"") + b"\r\nContent-Length: x\r\n\r\n")
    assert 400 <= answer.status < 500


@pytest.mark.parametrize(
    ("body", "kind", "headers", "status", "code"),
    [
        (png(100_000, 100_000), "image/png", {}, 413, "too_many_pixels"),
        (jpeg(65_535, 65_535), "image/jpeg", {}, 413, "too_many_pixels"),
        (bmp(1_000_000, -1_000_000), "image/bmp", {}, 413, "too_many_pixels"),
        (gif(2_000, 2_000, frames=2_000), "image/gif", {}, 413, "too_many_pixels"),
        (gzip.compress(bytes(1 << 24)), "image/png", {"Content_Encoding": "gzip"}, 415, "unsupported_media_type"),
        (gzip.compress(bytes(1 << 24)), "application/gzip", {}, 400, "bad_image"),
        (bytes((1 << 20) + 1), "image/png", {}, 413, "too_large"),
        (b'{"images": [' * 50_000, "application/json", {}, 400, "bad_json"),
        (json.dumps({"images": ["AAAA"] * 5}).encode(), "application/json", {}, 413, "too_many_images"),
        (json.dumps({"images": [base64.b64encode(png(9_000, 9_000)).decode()] * 4}).encode(), "application/json", {}, 413,
         "too_many_pixels"),
    ],
    ids=["png", "jpeg", "bmp", "gif", "gzip", "gzip as image", "large", "nested", "many", "many large"],
)  # fmt: skip
def test_bombs_are_refused_before_anything_is_unpacked(
    served: Served, body: bytes, kind: str, headers: dict[str, str], status: int, code: str
) -> None:
    answer = served.classify(body, kind, **headers)
    assert (answer.status, answer.code) == (status, code)


def test_a_bomb_for_tensorflow_serving_does_not_reach_it(served: Served) -> None:
    """Which would unpack it; also where it lies behind another file, or is no more than its beginning."""
    bomb = gzip.compress(bytes(1 << 24))
    packed = {"Content-Encoding": "GZIP", "Content-Type": "application/json"}
    for body in (bomb, gzip.compress(b"{") + bomb, bomb[:-8], gzip.compress(b"") * 50_000):
        answer = served.ask("POST", "/api/v1/models/cats:predict", body, packed)
        assert (answer.status, answer.code) == (413, "too_large")


def test_what_is_packed_within_the_bound_or_broken_is_the_servers_to_judge(served: Served) -> None:
    for body in (gzip.compress(b"{}"), b"no gzip", gzip.compress(b"{}")[:9], b""):
        answer = served.ask("POST", "/api/v1/models/cats:predict", body, {"Content-Encoding": "gzip"})
        assert (answer.status, answer.json["error"].split(":")[0]) == (400, "JSON Parse error")


def test_after_all_that_it_answers_as_before(served: Served) -> None:
    assert served.classify(png()).json["predictions"] == [
        [{"label": "lynx", "score": 0.9}, {"label": "cat", "score": 0.1}]
    ]
