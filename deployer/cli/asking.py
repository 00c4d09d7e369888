"""Use case: classify images, waiting for a sleeping model within the time given."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from deployer.cli.api import Api
from deployer.cli.errors import Failed, NotInTime, Usage, Waking

_HOLD_SECONDS = 200.0  # what one request may ask to be held for; Azure ends it at 230 s
_PAUSE_SECONDS = 5.0  # the longest pause between two held requests


def read_images(paths: Iterable[Path]) -> list[tuple[Path, bytes]]:
    """The images' bytes.

    Raises:
        Usage: one of them cannot be read.
    """
    images = []
    for path in paths:
        try:
            images.append((path, path.read_bytes()))
        except OSError as error:
            raise Usage(
                "no_such_file", f"'{path}' cannot be read: {error.strerror}.", "Give the path of an image file."
            ) from error
    return images


def classify(
    api: Api, name: str, image: bytes, *, top: int | None, wait_seconds: float, waking: Callable[[Waking], None]
) -> dict[str, Any]:
    """The API's answer for one image. A model that sleeps is waited for; ``waking`` is told each time it says so.

    Raises:
        NotInTime: it still woke after ``wait_seconds``.
        Failed: the image or the request was refused.
    """
    deadline = time.monotonic() + wait_seconds
    hold = 0.0  # the first request is not held, so that a person learns at once that the model sleeps
    while True:
        try:
            return api.classify(name, image, top=top, wait_seconds=hold)
        except Waking as error:
            left = deadline - time.monotonic()
            if left <= 0:
                raise _not_in_time(error, name, wait_seconds) from error
            waking(error)
            if hold:  # held before and still not awake
                time.sleep(min(error.retry_after, left, _PAUSE_SECONDS))
            hold = max(1.0, min(left, _HOLD_SECONDS))


def classify_all(
    api: Api, name: str, images: Iterable[tuple[Path, bytes]], *, top: int | None, wait_seconds: float,
    waking: Callable[[Waking], None],
) -> list[dict[str, Any]]:  # fmt: skip
    """One result per image, in order: the predictions, or the error of an image that was refused."""
    results: list[dict[str, Any]] = []
    for path, image in images:
        try:
            answer = classify(api, name, image, top=top, wait_seconds=wait_seconds, waking=waking)
        except Failed as refused:
            results.append({"image": str(path), **refused.body()})
        else:
            results.append({"image": str(path), "version": answer["version"], "predictions": answer["predictions"][0]})
    return results


def _not_in_time(error: Waking, name: str, wait_seconds: float) -> NotInTime:
    if wait_seconds <= 0:
        return error
    return NotInTime(
        "waking", f"'{name}' was not awake after {wait_seconds:.0f} s: {error.message}",
        "It goes on waking; ask again, or give it longer with --wait.", **error.details,
    )  # fmt: skip
