"""The bytes of a JPEG, PNG, BMP or GIF (its first frame) to pixels of as many channels as the model takes, in the graph.

A grey image becomes three equal channels, colours become their luminance, an alpha channel is dropped where it is not
wanted and opaque where it is missing: as Keras does when it reads images for training.

An operation that cannot decode fails the whole batch, and TensorFlow says which operation it was, but not which turn of
a loop. So each of the first images of a batch has a decoding operation of its own, of which the message tells the name:
``[[{{node undecodable_image_2/DecodeImage}}]]``. A branch that is not taken costs next to nothing.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import tensorflow as tf

NAMED = 16
"""Images of a batch that an error can name; those after them share the name of the last."""

_BMP, _GIF, _JPEG = b"BM", b"GI", b"\xff\xd8"
_FOREIGN = {1: (_BMP, _GIF), 3: (), 4: (_GIF, _JPEG)}
"""By channels: beginnings of files that TensorFlow decodes in three channels only."""
_LUMINANCE = (0.299, 0.587, 0.114)
"""ITU-R BT.601, as in libjpeg."""


def decode(image_bytes: Any, index: Any, channels: int) -> Any:
    """A scalar string to uint8 [height, width, channels]; ``index`` is its place in the batch.

    Raises:
        tf.errors.InvalidArgumentError: when it is run, on what is no image that can be decoded.
    """
    place = tf.minimum(index, NAMED - 1)
    if not _FOREIGN[channels]:
        return tf.ensure_shape(_decoded(image_bytes, place, channels), [None, None, channels])
    foreign = tf.reduce_any(tf.equal(tf.strings.substr(image_bytes, 0, 2), tf.constant(_FOREIGN[channels])))
    pixels = _decoded(image_bytes, place + NAMED * tf.cast(foreign, tf.int32), channels, 3)
    pixels = tf.cond(foreign, lambda: _converted(pixels, channels), lambda: pixels)
    return tf.ensure_shape(pixels, [None, None, channels])


def _decoded(image_bytes: Any, branch: Any, *channels: int) -> Any:
    """By the branch: first one for each place with the first number of channels, then with the second."""
    branches: list[Callable[[], Any]] = [
        partial(_decoding, image_bytes, count, place) for count in channels for place in range(NAMED)
    ]
    return tf.switch_case(branch, branches)


def _decoding(image_bytes: Any, channels: int, place: int) -> Any:
    with tf.name_scope(f"undecodable_image_{place}{'_or_later' if place == NAMED - 1 else ''}"):
        return tf.raw_ops.DecodeImage(
            contents=image_bytes, channels=channels, expand_animations=False, name="DecodeImage"
        )


def _converted(colours: Any, channels: int) -> Any:
    colours = tf.ensure_shape(colours, [None, None, 3])
    if channels == 4:
        return tf.pad(colours, [[0, 0], [0, 0], [0, 1]], constant_values=255)
    grey = tf.tensordot(tf.cast(colours, tf.float32), tf.constant(_LUMINANCE), 1)
    return tf.cast(tf.round(grey), tf.uint8)[..., tf.newaxis]
