"""TensorFlow Serving's request for a classification, and named classes from its answer. Pure."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
import pybase64

from deployer.errors import BadRequest, SlipwayError
from deployer.request.forward import Response

_UNDECODABLE = ("decode_image", "Unknown image file format", "Invalid PNG", "Invalid JPEG", "jpeg", "DecodeImage")
_PLACE = re.compile(r"undecodable_image_(\d+)(_or_later)?")  # as the exporter names the decoding of each place
_NEXT = b'"},{"b64":"'


def request_body(images: Sequence[bytes]) -> bytes:
    """TensorFlow Serving's predict request for the ``classify_image`` signature; no image is ever text on its way."""
    parts = [b'{"signature_name":"classify_image","inputs":{"image_bytes":[{"b64":"']
    for image in images:
        parts += (pybase64.b64encode(image), _NEXT)
    parts[-1] = b'"}]}}'
    return b"".join(parts)


def classes(who: str, response: Response, top: int | None, min_score: float | None) -> list[list[dict[str, Any]]]:
    """Named classes for each image, best first; at most ``top``, with at least ``min_score``.

    Raises:
        BadRequest: ``bad_image``: the servable could not decode one.
        SlipwayError: ``model_server_error`` (502): another error, or no classification; ``who`` names the version in it.
    """
    if response.status != HTTPStatus.OK:
        raise _server_error(who, response)
    try:
        return _predictions(_parsed(response.body)["outputs"], top, -math.inf if min_score is None else min_score)
    except (ValueError, LookupError, TypeError) as error:
        raise SlipwayError(
            "model_server_error", f"{who} answered with what is no classification ({error!r}).",
            "Something else answers at its address, or its servable was changed.", status=HTTPStatus.BAD_GATEWAY,
        ) from error  # fmt: skip


def _predictions(outputs: Mapping[str, Any], top: int | None, least: float) -> list[list[dict[str, Any]]]:
    return [
        [
            {"label": label, "score": score}
            for label, score in list(zip(labels, scores, strict=True))[:top]
            if least == -math.inf or score >= least
        ]
        for labels, scores in zip(outputs["labels"], outputs["scores"], strict=True)
    ]


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return json.loads(body)  # TensorFlow Serving writes NaN and Infinity as they are


def _server_error(who: str, response: Response) -> SlipwayError:
    try:
        message = str(orjson.loads(response.body)["error"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        message = response.body[:200].decode(errors="replace")
    if response.status == HTTPStatus.BAD_REQUEST and any(word in message for word in _UNDECODABLE):
        place = _PLACE.search(message)
        which = f"images[{place[1]}]{' or one after it' if place[2] else ''}" if place else "An image"
        return BadRequest(
            "bad_image", f"{which} could not be decoded: {message}", "Send a whole JPEG, PNG, GIF or BMP file."
        )
    return SlipwayError(
        "model_server_error", f"{who} answered {response.status}: {message}",
        "This is TensorFlow Serving's own message.", status=HTTPStatus.BAD_GATEWAY,
    )  # fmt: skip
