"""The files of a multipart/form-data body. Pure: werkzeug's decoder, which azure-functions brings, does the reading."""

from http import HTTPStatus

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder

from deployer.errors import BadRequest
from deployer.request.images import EXAMPLE

_MAX_BOUNDARY = 70  # RFC 2046, 5.1.1
_PARTS_BESIDE_FILES = 16


def files_in(content_type: str, body: bytes, *, most: int) -> list[tuple[str, bytes]]:
    """Name and content of each file, in order; at most ``most``. Fields that are no files are passed over.

    A part counts as a file if it has a file name, or a content type of its own. A form's empty file input does not count.

    Raises:
        BadRequest: ``bad_multipart`` or ``too_many_images``.
    """
    boundary = parse_options_header(content_type)[1].get("boundary", "")
    if not 0 < len(boundary) <= _MAX_BOUNDARY or not boundary.isascii():
        raise _bad(f"its Content-Type has no boundary of 1 to {_MAX_BOUNDARY} characters")
    decoder = MultipartDecoder(boundary.encode(), max_parts=most + _PARTS_BESIDE_FILES)
    decoder.receive_data(body)
    decoder.receive_data(None)
    files: list[tuple[str, bytes]] = []
    name: str | None = None
    content = b""
    try:
        while not isinstance(event := decoder.next_event(), Epilogue):
            match event:
                case File(filename=filename, name=field):
                    name, content = filename or field or "", b""
                case Field(name=field, headers=headers):
                    name, content = (field or "") if "content-type" in headers else None, b""
                case Data(data=data, more_data=more) if name is not None:
                    content = content + data if content else data
                    if not more and content:
                        files.append((name, content))
    except RequestEntityTooLarge as error:
        raise too_many(most) from error
    except ValueError as error:
        raise _bad(f"{error}") from error
    if len(files) > most:
        raise too_many(most)
    return files


def too_many(most: int) -> BadRequest:
    """More images than one request may have."""
    return BadRequest(
        "too_many_images", f"At most {most} images are taken in one request.",
        "Send them in several requests, or raise SLIPWAY_PROXY__MAX_IMAGES.", status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    )  # fmt: skip


def _bad(why: str) -> BadRequest:
    return BadRequest("bad_multipart", f"The multipart body cannot be read: {why}.", EXAMPLE)
