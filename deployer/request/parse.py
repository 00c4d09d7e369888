"""What a classification request asks for. Pure."""

import asyncio
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

import orjson
import pybase64

from deployer.errors import BadRequest
from deployer.request import images, multipart
from deployer.request.images import EXAMPLE
from deployer.settings import ProxySettings

T = TypeVar("T")

_COUNT = re.compile(r"[1-9][0-9]{0,8}")
_SCORE = re.compile(r"[0-9]{1,9}(?:\.[0-9]{0,20})?|\.[0-9]{1,20}")
_WAIT = re.compile(r"(?:^|[,;\s])wait=(\d{1,9})(?:$|[,;\s])")
_DATA_URL = re.compile(r"data:[\w.+-]*/?[\w.+-]*(?:;[\w.+-]+=[\w.+-]+)*;base64,", re.IGNORECASE)
_LENIENT = str.maketrans("-_", "+/", " \t\r\n")
_AT_ONCE = 1 << 20  # bytes; some milliseconds
_SESSION_LENGTH = 200
_SERVINGS_OWN, _BEGINNING = re.compile(rb'"(?:instances|inputs)"'), 200
_COMMAS = 20  # for each image; base64 has none
_GZIP = 31  # zlib's number for gzip files alone
_PACKED_AT_ONCE, _UNPACKED_AT_ONCE = 1 << 14, 1 << 18
_MOST_FILES = 100  # a file of no bytes takes 20


@dataclass(frozen=True)
class Wanted:
    """Which version, for how long to wait for it, and who asks: one ``session`` stays with one side of a canary."""

    version: int | None = None
    hold_seconds: float = 0.0
    session: str | None = None
    stable: bool = False  # the version that serves, whichever that is by then; never the one on trial


@dataclass(frozen=True)
class ClassifyRequest:
    """Encoded images, or the address of one; classes wanted at most, and with what score at least."""

    images: tuple[bytes, ...]
    url: str | None
    top: int | None
    min_score: float | None
    wanted: Wanted


async def worked(work: Callable[[], T], size: int) -> T:
    """What ``work`` makes of so many bytes; of many in a thread, so that other requests go on meanwhile."""
    return work() if size <= _AT_ONCE else await asyncio.to_thread(work)


def classify_request(
    headers: Mapping[str, str], params: Mapping[str, str], body: bytes, settings: ProxySettings
) -> ClassifyRequest:
    """Reads a classification request.

    Raises:
        BadRequest: what in it cannot be used.
    """
    check_size(body, settings)
    found = _content(headers.get("content-type", ""), headers.get("content-encoding", ""), body, settings)
    url = found if isinstance(found, str) else None
    named = () if isinstance(found, str) else found
    images.check(named, max_pixels=settings.max_pixels)
    return ClassifyRequest(
        images=tuple(data for _, data in named), url=url, top=_count(params, "top", "3"),
        min_score=_score(params.get("min_score")), wanted=wanted(headers, version=_count(params, "version", "2")),
    )  # fmt: skip


def wanted(headers: Mapping[str, str], *, version: int | None) -> Wanted:
    """What ``Prefer: wait=`` and ``x-slipway-session`` say, which all predictions understand."""
    wait = _WAIT.search(headers.get("prefer", ""))
    session = headers.get("x-slipway-session")
    return Wanted(version, float(wait[1]) if wait else 0.0, session[:_SESSION_LENGTH] if session else None)


def check_size(body: bytes, settings: ProxySettings) -> None:
    """Refuses a body beyond the bound.

    Raises:
        BadRequest: ``too_large``.
    """
    if len(body) > settings.max_body_mb << 20:
        raise BadRequest(
            "too_large", f"The body has {len(body)} bytes, and at most {settings.max_body_mb << 20} are taken.",
            "Send a smaller image, or raise SLIPWAY_PROXY__MAX_BODY_MB.", status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        )  # fmt: skip


def is_packed(headers: Mapping[str, str]) -> bool:
    """Whether the body is of the one encoding that TensorFlow Serving unpacks."""
    return "gzip" in headers.get("content-encoding", "").lower()


def check_unpacked(body: bytes, settings: ProxySettings) -> None:
    """Refuses a gzip body that unpacks to more than a body may have.

    Takes its time. One that is broken passes: the model server tells what is wrong with it.

    Raises:
        BadRequest: ``too_large``.
    """
    most, unpacked, files = settings.max_body_mb << 20, 0, 1
    unpacker = zlib.decompressobj(wbits=_GZIP)
    for at in range(0, len(body), _PACKED_AT_ONCE):
        rest = body[at : at + _PACKED_AT_ONCE]
        while rest:
            if unpacker.eof:  # files may follow one another
                files, unpacker = files + 1, zlib.decompressobj(wbits=_GZIP)
            try:
                unpacked += len(unpacker.decompress(rest, _UNPACKED_AT_ONCE))
            except zlib.error:
                return
            if unpacked > most or files > _MOST_FILES:
                raise BadRequest(
                    "too_large", f"The body unpacks to more than {most} bytes, or has more than {_MOST_FILES} files in it.",
                    "Send less, or raise SLIPWAY_PROXY__MAX_BODY_MB.", status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                )  # fmt: skip
            rest = unpacker.unconsumed_tail or unpacker.unused_data


def _content(
    content_type: str, content_encoding: str, body: bytes, settings: ProxySettings
) -> str | tuple[tuple[str, bytes], ...]:
    """The address of an image, or images, each with its place in the request."""
    if content_encoding.strip().lower() not in ("", "identity"):
        raise _unsupported(f"Content-Encoding '{content_encoding[:40]}' is not taken", "Images are compressed already.")
    if not body:
        raise BadRequest("no_image", "The request has no body.", EXAMPLE)
    kind = content_type.partition(";")[0].strip().lower()
    image = images.kind_of(body)
    if kind == "application/json" or kind.endswith("+json"):
        if image is not None:
            raise _contradiction(kind, f"a {image} image", f"Send it as image/{image.lower()}.")
        return _from_json(body, settings)
    if kind.startswith("multipart/"):
        if image is not None:
            raise _contradiction(kind, f"a {image} image", f"Send it as image/{image.lower()}.")
        files = multipart.files_in(content_type, body, most=settings.max_images)
        if not files:
            raise BadRequest("no_image", "The multipart body has no file in it.", "With curl: -F image=@cat.jpg")
        return tuple((f"files[{index}] ('{name[:60]}')", data) for index, (name, data) in enumerate(files))
    if image is None and body.lstrip()[:1] == b"{":
        raise _contradiction(kind or "none", "JSON", "Send it as application/json.")
    return (("the body", body),)


def _from_json(body: bytes, settings: ProxySettings) -> str | tuple[tuple[str, bytes], ...]:
    if body.count(b",") > _COMMAS * settings.max_images:  # values by the million would be made, only to be counted
        raise _for_predict() if _SERVINGS_OWN.search(body, 0, _BEGINNING) else multipart.too_many(settings.max_images)
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest("bad_json", f"The body is not JSON: {error}.", EXAMPLE) from error
    match document:
        case {"image": text}:
            return (("'image'", _decoded(text, "image")),)
        case {"images": [_, *_] as several}:
            if len(several) > settings.max_images:
                raise multipart.too_many(settings.max_images)
            places = (f"images[{index}]" for index in range(len(several)))
            return tuple((place, _decoded(text, place)) for place, text in zip(places, several, strict=True))
        case {"url": str(url)}:
            return url
        case {"instances": _} | {"inputs": _}:
            raise _for_predict()
    raise BadRequest(
        "no_image",
        "The JSON body has no 'image' (a base64 string), no 'images' (a list of them) and no 'url'.",
        EXAMPLE,
    )


def _for_predict() -> BadRequest:
    return BadRequest(
        "no_image", "This is TensorFlow Serving's own request, not one for classification.",
        "Send it to /api/v1/models/NAME:predict.",
    )  # fmt: skip


def _decoded(text: Any, where: str) -> bytes:
    """Base64 in either alphabet, with or without padding and line breaks, or as a data: URL."""
    if not isinstance(text, str):
        raise BadRequest("bad_base64", f"'{where}' is no string.", EXAMPLE)
    if not text.isascii():
        raise BadRequest("bad_base64", f"'{where}' is not base64 (it is not ASCII).", EXAMPLE)
    if text[:5].lower() == "data:":
        text = _DATA_URL.sub("", text[:200], count=1) + text[200:]
    try:
        return pybase64.b64decode(text, validate=True)
    except ValueError:
        plain = text.translate(_LENIENT).rstrip("=")
    try:
        return pybase64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except ValueError as error:
        raise BadRequest("bad_base64", f"'{where}' is not base64 ({error}).", EXAMPLE) from error


def _count(params: Mapping[str, str], name: str, example: str) -> int | None:
    text = params.get(name)
    if text is None:
        return None
    if not _COUNT.fullmatch(text):
        raise BadRequest(
            "bad_parameter", f"{name}={text[:20]} is no whole number from 1.", f"Use ?{name}={example}, for example."
        )
    return int(text)


def _score(text: str | None) -> float | None:
    if text is None:
        return None
    if not _SCORE.fullmatch(text):
        raise BadRequest("bad_parameter", f"min_score={text[:20]} is no score.", "Use ?min_score=0.5, for example.")
    return float(text)


def _contradiction(kind: str, found: str, hint: str) -> BadRequest:
    return BadRequest("contradiction", f"The body is {found}, but its Content-Type says '{kind[:60]}'.", hint)


def _unsupported(message: str, hint: str) -> BadRequest:
    return BadRequest("unsupported_media_type", f"{message}.", hint, status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
