"""Images out of a request's body. Pure; the bytes are looked at only to tell an image from something else.

Decoding and resizing happen in the servable's ``classify_image`` signature.
"""

import base64
import binascii
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson

from deployer.errors import BadRequest

_MAGIC = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"GIF8": "GIF", b"BM": "BMP"}
_EXAMPLE = 'Send the image as the body (Content-Type: image/jpeg), or JSON {"image": "BASE64"}.'
_URL_SAFE = str.maketrans("-_", "+/")


def images_in(content_type: str, body: bytes) -> list[bytes]:
    """The images of a classification request, encoded as they came.

    Raises:
        BadRequest: ``no_image``, ``bad_json``, ``bad_base64``, ``bad_image`` or ``unsupported_media_type``.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if not body:
        raise BadRequest("no_image", "The request has no body.", _EXAMPLE)
    if kind == "application/json" or kind.endswith("+json"):
        images = _from_json(body)
    elif kind.startswith("multipart/"):
        raise BadRequest(
            "unsupported_media_type", f"Content-Type '{kind}' is not taken.", _EXAMPLE,
            status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        )  # fmt: skip
    else:
        images = [body]
    for index, image in enumerate(images):
        if not any(image.startswith(magic) for magic in _MAGIC):
            where = "The body" if len(images) == 1 else f"images[{index}]"
            raise BadRequest("bad_image", f"{where} is no {', '.join(_MAGIC.values())} image.", _EXAMPLE)
    return images


def _from_json(body: bytes) -> list[bytes]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest("bad_json", f"The body is not JSON: {error}.", _EXAMPLE) from error
    match document:
        case {"image": str(text)}:
            return [_decoded(text, "image")]
        case {"images": [_, *_] as several}:
            return [_decoded(text, f"images[{index}]") for index, text in enumerate(several)]
    raise BadRequest(
        "no_image", "The JSON body has no 'image' (a base64 string) and no 'images' (a list of them).", _EXAMPLE
    )


def _decoded(text: Any, where: str) -> bytes:
    """Base64 in either alphabet, with or without padding."""
    if not isinstance(text, str):
        raise BadRequest("bad_base64", f"'{where}' is no string.", _EXAMPLE)
    plain = text.translate(_URL_SAFE).rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequest("bad_base64", f"'{where}' is not base64: {error}.", _EXAMPLE) from error


def request_body(images: list[bytes]) -> bytes:
    """TensorFlow Serving's predict request for the ``classify_image`` signature."""
    encoded = b",".join(b'{"b64":"' + base64.b64encode(image) + b'"}' for image in images)
    return b'{"signature_name":"classify_image","inputs":{"image_bytes":[' + encoded + b"]}}"


def predictions(outputs: Mapping[str, Any], top: int | None) -> list[list[dict[str, Any]]]:
    """Named classes for each image, best first; at most ``top``."""
    return [
        [{"label": label, "score": score} for label, score in list(zip(labels, scores, strict=True))[:top]]
        for labels, scores in zip(outputs["labels"], outputs["scores"], strict=True)
    ]
