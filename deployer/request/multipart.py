"""The files of a multipart/form-data body (RFC 7578, 2046). Pure; werkzeug, which azure-functions brings, reads the headers.

The body is searched, never walked, and every count has a bound: a body of many megabytes that is all boundaries, headers or line
breaks is refused as quickly as a good one is read.
"""

import re
from collections.abc import Iterator
from http import HTTPStatus

from werkzeug.http import parse_options_header

from deployer.errors import BadRequest
from deployer.request.images import EXAMPLE

_MAX_BOUNDARY = 70  # RFC 2046, 5.1.1
_MAX_CONTENT_TYPE = 1000
_MAX_HEADERS = 2048  # bytes, of one part
_MAX_PREAMBLE = 1024  # bytes; no client that is known sends one
_PARTS_BESIDE_FILES = 16
_MISTAKABLE = 1000  # lines in files that begin as the boundary does, and go on otherwise


def files_in(content_type: str, body: bytes, *, most: int) -> list[tuple[str, bytes]]:
    """Name and content of each file, in order; at most ``most``. Fields that are no files are passed over.

    A part counts as a file if it has a file name, or a content type of its own. A form's empty file input does not count.

    Raises:
        BadRequest: ``bad_multipart`` or ``too_many_images``.
    """
    boundary = (
        parse_options_header(content_type)[1].get("boundary", "") if len(content_type) <= _MAX_CONTENT_TYPE else ""
    )
    if not 0 < len(boundary) <= _MAX_BOUNDARY or not boundary.isascii():
        raise _bad(f"its Content-Type has no boundary of 1 to {_MAX_BOUNDARY} characters")
    files: list[tuple[str, bytes]] = []
    for number, (start, end) in enumerate(_parts(body, b"--" + boundary.encode())):
        if number >= most + _PARTS_BESIDE_FILES:
            raise too_many(most)
        head_ends = body.find(b"\r\n\r\n", start - 2, min(end, start + _MAX_HEADERS))
        if head_ends < 0:
            raise _bad(f"a part has no end of its headers within {_MAX_HEADERS} bytes")
        name = _file_name(body[start:head_ends])
        if name is not None and head_ends + 4 < end:
            files.append((name, body[head_ends + 4 : end]))
    if len(files) > most:
        raise too_many(most)
    return files


def too_many(most: int) -> BadRequest:
    """More images than one request may have."""
    return BadRequest(
        "too_many_images", f"At most {most} images are taken in one request.",
        "Send them in several requests, or raise SLIPWAY_PROXY__MAX_IMAGES.", status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    )  # fmt: skip


def _parts(body: bytes, delimiter: bytes) -> Iterator[tuple[int, int]]:
    """Where the headers of each part begin, and where its content ends."""
    start: int | None = None
    for line, after in _delimiters(body, delimiter):
        if start is not None:
            yield start, line
        if body.startswith(b"--", after):
            return
        start = body.find(b"\r\n", after, after + _MAX_HEADERS) + 2
    raise _bad("it does not begin with its boundary" if start is None else "it ends before its last boundary")


def _delimiters(body: bytes, delimiter: bytes) -> Iterator[tuple[int, int]]:
    """Where the line break before each begins, and where its own text ends."""
    if body.startswith(delimiter) and _is_end(body, len(delimiter)):
        yield 0, len(delimiter)
    line, mistaken = b"\r\n" + delimiter, 0
    first_within = min(len(body), _MAX_PREAMBLE + len(line))
    at = body.find(line, 0, len(body) if body.startswith(delimiter) else first_within)
    while at >= 0:
        after = at + len(line)
        if _is_end(body, after):
            yield at, after
        elif (mistaken := mistaken + 1) > _MISTAKABLE:
            raise _bad("too many of its lines begin as its boundary does")
        at = body.find(line, after)


def _is_end(body: bytes, at: int) -> bool:
    """Whether a boundary ends here: with its line, or with the two hyphens of the last one."""
    rest = body[at : at + 80]
    return rest.startswith(b"--") or rest.lstrip(b" \t").startswith(b"\r\n")


def _file_name(headers: bytes) -> str | None:
    """The name of the file that a part with these headers is; None for a field."""
    named: dict[str, str] = {}
    text = re.sub(r"\r\n[ \t]+", " ", headers.decode("utf-8", errors="replace"))  # a folded header is one line
    for line in text.split("\r\n"):
        name, _, value = line.partition(":")
        named.setdefault(name.strip().lower(), value.strip())
    kind, options = parse_options_header(named.get("content-disposition", ""))
    if kind != "form-data":
        raise _bad("a part has no Content-Disposition: form-data")
    if "filename" in options or "content-type" in named:
        return options.get("filename") or options.get("name") or ""
    return None


def _bad(why: str) -> BadRequest:
    return BadRequest("bad_multipart", f"The multipart body cannot be read: {why}.", EXAMPLE)
