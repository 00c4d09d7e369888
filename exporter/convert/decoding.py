"""The bytes of a JPEG, PNG, BMP or GIF (its first frame) to pixels of as many channels as the model takes, in the graph.

A grey image becomes three equal channels, colours become their luminance, an alpha channel is dropped where it is not
wanted and opaque where it is missing: as Keras does when it reads images for training.

An operation that cannot decode fails the whole batch, and TensorFlow says which operation it was, but not which turn of
a loop. So each of the first images of a batch has a decoding operation of its own, of which the message tells the name:
``[[{{node undecodable_image_2/DecodeImage}}]]``. Those that are not taken cost next to nothing: the image goes to one of
them, by ``Switch`` and ``Merge``, which take fewer than half as long to build as a function for each, called by ``Case``.
"""

from typing import Any

import tensorflow as tf

NAMED = 16
"""Images of a batch that an error can name; those after them share the name of the last."""

_BMP, _GIF, _JPEG = b"BM", b"GI", b"\xff\xd8"
_FOREIGN = {1: (_BMP, _GIF), 4: (_GIF, _JPEG)}
"""By channels: beginnings of files that TensorFlow decodes in three channels only."""
_LUMINANCE = (0.299, 0.587, 0.114)
"""ITU-R BT.601, as in libjpeg."""


def decode(image_bytes: Any, channels: int, index: Any = None) -> Any:
    """A scalar string to uint8 [height, width, channels].

    ``index`` is its place in the batch, for the error, and given in a graph only: nothing else can go to one of several
    operations.

    Raises:
        tf.errors.InvalidArgumentError: when it is run, on what is no image that can be decoded.
    """
    foreign = channels != 3 and tf.reduce_any(tf.equal(tf.strings.substr(image_bytes, 0, 2), _FOREIGN[channels]))
    if index is None:
        pixels = _decoding(image_bytes, 3 if foreign else channels)
    else:
        pixels = _decoding_by_place(image_bytes, channels, tf.minimum(index, NAMED - 1), foreign)
    if channels != 3:
        pixels = tf.cond(foreign, lambda: _converted(pixels, channels), lambda: pixels)
    return tf.ensure_shape(pixels, [None, None, channels])


def _decoding_by_place(image_bytes: Any, channels: int, place: Any, foreign: Any) -> Any:
    """By one of these operations: first one for each place with the model's channels, then, for foreign files, with three."""
    ways = [(count, each) for count in ((channels,) if channels == 3 else (channels, 3)) for each in range(NAMED)]
    chosen = place if channels == 3 else place + NAMED * tf.cast(foreign, tf.int32)
    decoded = []
    for (count, each), is_chosen in zip(ways, tf.unstack(tf.equal(tf.range(len(ways)), chosen)), strict=True):
        with tf.name_scope(f"undecodable_image_{each}{'_or_later' if each == NAMED - 1 else ''}"):
            decoded.append(_decoding(tf.raw_ops.Switch(data=image_bytes, pred=is_chosen).output_true, count))
    return tf.raw_ops.Merge(inputs=decoded).output


def _decoding(contents: Any, channels: int) -> Any:
    return tf.raw_ops.DecodeImage(contents=contents, channels=channels, expand_animations=False, name="DecodeImage")


def _converted(colours: Any, channels: int) -> Any:
    colours = tf.ensure_shape(colours, [None, None, 3])
    if channels == 4:
        return tf.pad(colours, [[0, 0], [0, 0], [0, 1]], constant_values=255)
    grey = tf.tensordot(tf.cast(colours, tf.float32), tf.constant(_LUMINANCE), 1)
    return tf.cast(tf.round(grey), tf.uint8)[..., tf.newaxis]
