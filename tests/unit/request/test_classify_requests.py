"""What a classification request may look like, and what is said of one that cannot be used."""

import base64
import json
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.errors import BadRequest
from deployer.request import ClassifyRequest, classify_request
from deployer.request.parse import Wanted
from deployer.settings import ProxySettings
from tests.unit.request.pictures import REST, bmp, gif, jpeg, png

PNG, JPEG = png(), jpeg()
SETTINGS = ProxySettings()
FORM = "multipart/form-data; boundary=xYz"


def body_of(document: object) -> bytes:
    return json.dumps(document).encode()


def read(
    body: bytes, kind: str = "", *, params: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None,
    settings: ProxySettings = SETTINGS,
) -> ClassifyRequest:  # fmt: skip
    return classify_request({"content-type": kind, **(headers or {})}, params or {}, body, settings)


def refused(body: bytes, kind: str = "", headers: Mapping[str, str] | None = None) -> BadRequest:
    with pytest.raises(BadRequest) as found:
        read(body, kind, headers=headers)
    assert found.value.message and found.value.hint
    return found.value


def part(
    content: bytes, head: str = 'form-data; name="image"; filename="cat.jpg"', kind: str | None = "image/jpeg"
) -> bytes:
    own = f"\r\nContent-Type: {kind}" if kind else ""
    return f"--xYz\r\nContent-Disposition: {head}{own}\r\n\r\n".encode() + content + b"\r\n"


@pytest.mark.parametrize("image", [PNG, JPEG, gif(), bmp()])
@pytest.mark.parametrize("kind", ["image/png", "", "application/octet-stream", "application/x-www-form-urlencoded"])
def test_a_raw_body_is_one_image_whatever_its_type_says(image: bytes, kind: str) -> None:
    assert read(image, kind).images == (image,)


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("strip", [b" ", b"="], ids=["padded", "unpadded"])
@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", "application/problem+json"])
def test_json_carries_base64_of_either_alphabet(encode: Callable[[bytes], bytes], strip: bytes, kind: str) -> None:
    text = encode(PNG).rstrip(strip).decode()
    assert read(body_of({"image": text}), kind).images == (PNG,)
    assert read(body_of({"images": [text, text]}), kind).images == (PNG, PNG)


@pytest.mark.parametrize(
    "head", ["data:image/png;base64,", "DATA:;base64,", "data:image/svg+xml;charset=utf-8;base64,"]
)
def test_base64_may_be_a_data_url_or_have_line_breaks(head: str) -> None:
    text = base64.encodebytes(PNG).decode()
    assert "\n" in text
    assert read(body_of({"image": head + text}), "application/json").images == (PNG,)


@given(st.binary(max_size=200), st.sampled_from([base64.b64encode, base64.urlsafe_b64encode]), st.booleans())
def test_base64_of_any_bytes_is_read_back(tail: bytes, encode: Callable[[bytes], bytes], padded: bool) -> None:
    image = PNG + tail
    text = encode(image).decode()
    document = {"image": text if padded else text.rstrip("=")}
    assert read(body_of(document), "application/json").images == (image,)


def test_a_form_has_one_file_or_many_and_other_fields_are_passed_over() -> None:
    one = part(PNG) + b"--xYz--\r\n"
    assert read(one, FORM).images == (PNG,)
    many = (
        part(b"hello", 'form-data; name="comment"', None)
        + part(PNG)
        + part(b"", 'form-data; name="empty"; filename=""')
        + part(JPEG, 'form-data; name="typed"')
        + part(PNG + b"\r\n--xY not the boundary", 'form-data; name="x"; filename="ü.png"', None)
        + b"--xYz--\r\nepilogue"
    )
    assert read(b"preamble\r\n" + many, FORM).images == (PNG, JPEG, PNG + b"\r\n--xY not the boundary")
    assert read(one, 'multipart/form-data; charset=utf-8; boundary="xYz"').images == (PNG,)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", part(PNG)),
        ("multipart/form-data; boundary=", part(PNG)),
        ("multipart/form-data; boundary=ü", part(PNG)),
        (f"multipart/form-data; boundary={'x' * 71}", part(PNG)),
        (FORM, b"no boundary at all"),
        (FORM, part(PNG)),
        (FORM, part(PNG)[:60]),
        (FORM, b"--xYz\r\nContent-Type: image/png\r\n\r\nx\r\n--xYz--\r\n"),
        (FORM, b"--xYz\r\nContent-Disposition: \xff\xfe\r\n\r\nx\r\n--xYz--\r\n"),
        ("multipart/form-data; boundary=other", part(PNG) + b"--xYz--\r\n"),
    ],
)
def test_a_form_that_cannot_be_read_is_refused(kind: str, body: bytes) -> None:
    assert refused(body, kind).code == "bad_multipart"


def test_a_form_without_a_file_says_how_to_send_one() -> None:
    found = refused(part(b"hello", 'form-data; name="image"', None) + b"--xYz--\r\n", FORM)
    assert found.code == "no_image"
    assert "curl" in found.hint


def test_an_image_in_a_form_that_is_none_is_named() -> None:
    body = part(PNG) + part(b"hello", 'form-data; name="b"; filename="letter.txt"') + b"--xYz--\r\n"
    assert "files[1] ('letter.txt') is something else" in refused(body, FORM).message


def test_more_images_than_are_taken_at_once_are_refused() -> None:
    few = SETTINGS.model_copy(update={"max_images": 2})
    text = base64.b64encode(PNG).decode()
    form = part(PNG) * 3 + b"--xYz--\r\n"
    flood = part(b"", 'form-data; name="x"', None) * 100 + b"--xYz--\r\n"
    for kind, body in (("application/json", body_of({"images": [text] * 3})), (FORM, form), (FORM, flood)):
        with pytest.raises(BadRequest) as found:
            read(body, kind, settings=few)
        assert (found.value.code, found.value.status) == ("too_many_images", 413)
    assert len(read(body_of({"images": [text] * 2}), "application/json", settings=few).images) == 2


@pytest.mark.parametrize(
    ("kind", "body", "code", "status"),
    [
        ("image/png", b"", "no_image", 400),
        ("image/png", b"hello", "bad_image", 400),
        ("image/webp", b"RIFF....WEBP", "bad_image", 400),
        ("application/json", b"{", "bad_json", 400),
        ("application/json", b"\xff", "bad_json", 400),
        ("application/json", b"[" * 5000, "bad_json", 400),
        ("application/json", b"[]", "no_image", 400),
        ("application/json", b'{"img": "x"}', "no_image", 400),
        ("application/json", b'{"images": []}', "no_image", 400),
        ("application/json", b'{"image": 5}', "bad_base64", 400),
        ("application/json", b'{"images": [5]}', "bad_base64", 400),
        ("application/json", b'{"image": "a*b"}', "bad_base64", 400),
        ("application/json", b'{"image": "abcde"}', "bad_base64", 400),
        ("application/json", '{"image": "größe"}'.encode(), "bad_base64", 400),
        ("application/json", b'{"image": "aGVsbG8="}', "bad_image", 400),
        ("application/json", b'{"image": ""}', "bad_image", 400),
        ("application/json", b'{"url": 5}', "no_image", 400),
    ],
)
def test_what_cannot_be_used_is_refused(kind: str, body: bytes, code: str, status: int) -> None:
    found = refused(body, kind)
    assert (found.code, found.status) == (code, status)


@pytest.mark.parametrize(
    ("kind", "body", "told"),
    [
        ("application/json", JPEG, "The body is a JPEG image, but its Content-Type says 'application/json'"),
        (FORM, PNG, "The body is a PNG image, but its Content-Type says 'multipart/form-data'"),
        ("image/jpeg", b' {"image": "x"}', "The body is JSON, but its Content-Type says 'image/jpeg'"),
        ("", b'{"image": "x"}', "The body is JSON, but its Content-Type says 'none'"),
    ],
)
def test_a_type_that_contradicts_the_body_is_told(kind: str, body: bytes, told: str) -> None:
    found = refused(body, kind)
    assert found.code == "contradiction"
    assert found.message.startswith(told)


def test_tensorflow_servings_own_request_is_shown_the_way() -> None:
    assert ":predict" in refused(b'{"instances": [[1.0]]}', "application/json").hint


def test_a_compressed_body_is_not_unpacked() -> None:
    found = refused(b"\x1f\x8b" + REST, "image/png", {"content-encoding": "gzip"})
    assert (found.code, found.status) == ("unsupported_media_type", 415)
    assert read(PNG, "image/png", headers={"content-encoding": "Identity"}).images == (PNG,)


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        (FORM, b"-" * 100_000, "bad_multipart"),
        (FORM, b"\r\n" * 1000 + part(PNG) + b"--xYz--\r\n", "bad_multipart"),
        (FORM, b"--xYz" + b" " * 100_000, "bad_multipart"),
        (FORM, b"--xYz\r\n" + b"A: b\r\n" * 10_000 + b"\r\n", "bad_multipart"),
        (FORM, part(PNG + b"\r\n--xYzz" * 2000) + b"--xYz--\r\n", "bad_multipart"),
        (FORM + "; a=b" * 1000, part(PNG) + b"--xYz--\r\n", "bad_multipart"),
        ("application/json", b'{"images": [' + b'"",' * 10_000 + b'""]}', "too_many_images"),
        ("application/json", b'{"instances": [' + b"0.5," * 10_000 + b"0.5]}", "no_image"),
        ("", b"GIF89a" + bytes(7) + b"\x21\xff" + b"\x01x" * 200_000, "bad_image"),
        ("", b"GIF89a" + bytes(7) + b"\x21\xff\0" * 200_000, "bad_image"),
        ("", b"\xff\xd8\xff" + b"\xff" * 200_000, "bad_image"),
        ("", b"\xff\xd8" + b"\xff\xe0\0\x02" * 200_000, "bad_image"),
    ],
)
def test_what_only_takes_long_to_read_is_refused(kind: str, body: bytes, code: str) -> None:
    """Bodies of a few kilobytes a second's work each; those of many megabytes would hold all others up."""
    assert refused(body, kind).code == code


def test_images_share_what_may_be_walked() -> None:
    half = b"GIF89a" + bytes(7) + b"\x21\xff" + b"\x01x" * 80_000 + b"\0\x3b"
    assert read(half).images == (half,)
    assert refused(part(half) * 2 + b"--xYz--\r\n", FORM).code == "bad_image"


def test_files_may_contain_what_looks_like_their_boundary() -> None:
    content = PNG + b"\r\n--xYzz\r\n--xY\r\n--\n--xYz\r\n\r\n--xYz-\r\n"
    assert read(part(content) * 2 + b"--xYz--", FORM).images == (content, content)
    padded = part(PNG).replace(b"--xYz\r\n", b"--xYz \t\r\n") + b"--xYz--"
    assert read(padded, FORM).images == (PNG,)


def test_the_image_that_is_none_is_named_by_its_place() -> None:
    body = body_of({"images": [base64.b64encode(PNG).decode(), "aGVsbG8="]})
    assert refused(body, "application/json").message.startswith("images[1] is something else")


def test_an_address_is_left_to_be_fetched() -> None:
    found = read(b'{"url": "https://cats.blob.core.windows.net/a/b.png"}', "application/json")
    assert (found.images, found.url) == ((), "https://cats.blob.core.windows.net/a/b.png")


@given(
    st.sampled_from(["application/json", "image/png", FORM, "multipart/mixed", "a/b; boundary=x"])
    | st.text(max_size=30),
    st.binary(max_size=60)
    | st.text(max_size=40).map(body_of)
    | st.binary(max_size=60).map(lambda x: part(x) + b"--xYz--"),
)
def test_any_body_is_read_or_refused(kind: str, body: bytes) -> None:
    try:
        found = read(body, kind)
        assert found.images or found.url
    except BadRequest as error:
        assert error.status in (400, 413, 415)


@pytest.mark.parametrize(
    ("headers", "params", "wanted"),
    [
        ({}, {}, Wanted()),
        ({}, {"version": "3"}, Wanted(version=3)),
        ({"prefer": "wait=30"}, {}, Wanted(hold_seconds=30.0)),
        ({"prefer": "respond-async, wait=10"}, {}, Wanted(hold_seconds=10.0)),
        ({"prefer": "handling=lenient; wait=7"}, {}, Wanted(hold_seconds=7.0)),
        ({"prefer": "wait=soon"}, {}, Wanted()),
        ({"prefer": "wait=1e9"}, {}, Wanted()),
        ({"prefer": "await=30"}, {}, Wanted()),
        ({"prefer": f"wait={'9' * 400}"}, {}, Wanted()),
        ({"x-slipway-session": "anna"}, {}, Wanted(session="anna")),
        ({"x-slipway-session": ""}, {}, Wanted()),
    ],
)
def test_version_wait_and_session_are_read(headers: dict[str, str], params: dict[str, str], wanted: Wanted) -> None:
    assert read(PNG, params=params, headers=headers).wanted == wanted


@pytest.mark.parametrize(
    ("params", "top", "least"),
    [({}, None, None), ({"top": "3"}, 3, None), ({"min_score": "0.5"}, None, 0.5), ({"min_score": ".25"}, None, 0.25)],
)
def test_bounds_of_the_answer_are_read(params: dict[str, str], top: int | None, least: float | None) -> None:
    found = read(PNG, params=params)
    assert (found.top, found.min_score) == (top, least)


@pytest.mark.parametrize("name", ["top", "version"])
@pytest.mark.parametrize("value", ["0", "-1", "x", "", "1.5", "٣", "9" * 5000])
def test_a_number_that_is_none_is_refused(name: str, value: str) -> None:
    with pytest.raises(BadRequest, match=f"{name}=") as found:
        read(PNG, params={name: value})
    assert found.value.code == "bad_parameter"
    assert len(found.value.message) < 200


@pytest.mark.parametrize("value", ["", "nan", "inf", "-1", "1e3", "x", "0,5", "٣", "9" * 5000])
def test_a_score_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(BadRequest, match="min_score=") as found:
        read(PNG, params={"min_score": value})
    assert found.value.code == "bad_parameter"


def test_a_body_beyond_the_bound_is_refused() -> None:
    small = SETTINGS.model_copy(update={"max_body_mb": 1})
    assert read(PNG + bytes((1 << 20) - len(PNG)), settings=small).images
    with pytest.raises(BadRequest) as found:
        read(PNG + bytes((1 << 20) - len(PNG) + 1), settings=small)
    assert (found.value.code, found.value.status) == ("too_large", 413)
