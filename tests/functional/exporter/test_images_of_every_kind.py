"""``classify_image`` on files of every kind, into models of 1, 3 and 4 channels whose scores are the channels' means.

The files are written byte by byte here, and what they should be read as is known without TensorFlow.
"""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter import VerifiedServable
from tests.functional.exporter import image_files
from tests.functional.exporter.conftest import run_program

RED, GREEN, BLUE = COLOUR = (200, 100, 50)
GREY, ALPHA = 90, 40
LUMINANCE = round(0.299 * RED + 0.587 * GREEN + 0.114 * BLUE)


def solid(*channels: int) -> image_files.Pixels:
    return np.full((8, 8, len(channels)), channels, dtype=np.uint8)


NOISE = np.random.default_rng(5).integers(0, 256, (8, 8, 4), dtype=np.uint8)
FILES: dict[str, tuple[bytes, tuple[int, ...]]] = {
    "png of grey": (image_files.png(solid(GREY)), (GREY,)),
    "png of grey with alpha": (image_files.png(solid(GREY, ALPHA)), (GREY, ALPHA)),
    "png of colours": (image_files.png(solid(*COLOUR)), COLOUR),
    "png of colours with alpha": (image_files.png(solid(*COLOUR, ALPHA)), (*COLOUR, ALPHA)),
    "bmp of 24 bits": (image_files.bmp(solid(*COLOUR)), COLOUR),
    "bmp of 32 bits": (image_files.bmp(solid(*COLOUR, ALPHA)), (*COLOUR, ALPHA)),
    "gif": (image_files.gif(COLOUR, side=8), COLOUR),
    "gif of two frames": (image_files.gif(COLOUR, (1, 2, 3), side=8), COLOUR),
}
PNG, BMP = image_files.png(NOISE[..., :3]), image_files.bmp(NOISE[..., :3])
BAD: dict[str, bytes] = {"nothing": b"", "text": b"<html>no image</html>", "cut short": PNG[:60], "one byte": b"B"}
MODELS = {1: "mean_1", 3: "mean_3", 4: "mean_4"}
NAMES = {1: ("grey",), 3: ("red", "green", "blue"), 4: ("red", "green", "blue", "alpha")}


def read_as(own: tuple[int, ...], channels: int) -> tuple[int, ...]:
    """What a model of so many channels should see of an image of those: alpha dropped, or opaque where missing."""
    colour, alpha = (own[:3], own[3:]) if len(own) > 2 else (own[:1] * 3, own[1:])
    match channels:
        case 1:
            return (LUMINANCE,) if len(own) > 2 else own[:1]
        case 3:
            return colour
        case _:
            return (*colour, *(alpha or (255,)))


@pytest.fixture(scope="module")
def files(sources: Path) -> dict[str, tuple[bytes, tuple[int, ...]]]:
    """The files, and what is in them."""
    jpegs = {
        "jpeg of colours": ((sources / "colour.jpg").read_bytes(), COLOUR),
        "jpeg of grey": ((sources / "grey.jpg").read_bytes(), (RED,)),
    }
    return FILES | jpegs


@pytest.fixture(scope="module")
def asked(
    servables: dict[str, VerifiedServable], files: dict[str, tuple[bytes, tuple[int, ...]]]
) -> dict[str, list[dict[str, Any]]]:
    """The answers of each model: to all files in one request, to noise in two forms, then to each bad file as third."""
    good = [content for content, _ in files.values()]
    requests = [good, [PNG, BMP], *([good[0], good[4], bad, good[1]] for bad in BAD.values()), [*good * 2, b"bad"]]
    encoded = [[base64.b64encode(image).decode() for image in request] for request in requests]
    questions = {model: {"servable": str(servables[model].directory), "requests": encoded} for model in MODELS.values()}
    answered: dict[str, Any] = json.loads(run_program("ask_images.py", given=json.dumps(questions)).splitlines()[-1])
    return answered


def scores(answer: dict[str, Any], place: int) -> dict[str, float]:
    return {label: 255 * score for label, score in zip(answer["labels"][place], answer["scores"][place], strict=True)}


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_kind_of_file_is_read_as_the_model_wants_it(
    asked: dict[str, list[dict[str, Any]]], files: dict[str, tuple[bytes, tuple[int, ...]]], channels: int
) -> None:
    together = asked[MODELS[channels]][0]
    for place, (kind, (_, own)) in enumerate(files.items()):
        found = scores(together, place)
        wanted = dict(zip(NAMES[channels], read_as(own, channels), strict=True))
        close = 2.0 if "jpeg" in kind or channels == 1 else 0.01  # libpng rounds a luminance otherwise, JPEG is lossy
        assert {name: found[name] for name in wanted} == pytest.approx(wanted, abs=close), kind


@pytest.mark.parametrize("channels", [3, 4])
def test_the_same_pixels_in_two_formats_get_the_same_answer(
    asked: dict[str, list[dict[str, Any]]], channels: int
) -> None:
    answer = asked[MODELS[channels]][1]
    means = dict(zip(("red", "green", "blue"), NOISE[..., :3].mean((0, 1)), strict=True))
    for place in (0, 1):
        assert scores(answer, place) | means == pytest.approx(scores(answer, place), abs=0.01)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("bad", list(BAD))
def test_one_image_that_cannot_be_decoded_is_named_by_its_place_in_the_batch(
    asked: dict[str, list[dict[str, Any]]], channels: int, bad: str
) -> None:
    answer = asked[MODELS[channels]][2 + list(BAD).index(bad)]
    assert "undecodable_image_2/" in answer["error"]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_of_a_large_batch_the_error_tells_at_least_that_it_is_a_late_one(
    asked: dict[str, list[dict[str, Any]]], channels: int
) -> None:
    assert "undecodable_image_15_or_later/" in asked[MODELS[channels]][-1]["error"]
