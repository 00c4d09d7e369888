"""From the bytes of image files to the numbers that a model takes: decoded, resized and scaled."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from exporter.convert import decoding
from exporter.options import Scaling

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
_IMAGENET_MEAN_BGR = (103.939, 116.779, 123.68)
_LARGEST_SAMPLE = 32
"""Pixels along a side: a sample image is small enough for a golden request."""


@dataclass(frozen=True)
class Pixels:
    """The images that a model takes."""

    height: int
    width: int
    channels: int
    scaling: Scaling
    dtype: tf.DType

    def decoded(self, files: Any) -> Any:
        """The bytes of images [N] to numbers [N, height, width, channels], in a graph."""
        one = tf.TensorSpec((self.height, self.width, self.channels), tf.float32)
        places = tf.range(tf.size(files))
        images = tf.map_fn(lambda image: self._scaled(*image), (files, places), fn_output_signature=one)
        return tf.cast(images, self.dtype)

    def numbers(self, files: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The same without a graph: what ``decoded`` should give."""
        images = tf.stack([self._scaled(tf.constant(content)) for content in files])
        numbers: np.ndarray[Any, Any] = tf.cast(images, self.dtype).numpy()
        return numbers

    def samples(self, count: int) -> np.ndarray[Any, Any]:
        """Seeded noise as PNG files: the same for the same count."""
        generator = np.random.default_rng(count)
        shape = (min(self.height, _LARGEST_SAMPLE), min(self.width, _LARGEST_SAMPLE), self.channels)
        images = (generator.integers(0, 256, size=shape, dtype=np.uint8) for _ in range(count))
        return np.array([tf.io.encode_png(image).numpy() for image in images], dtype=object)

    def _scaled(self, content: Any, index: Any = None) -> Any:
        """A scalar string to a float32 [height, width, channels]; of ``index`` see ``decoding.decode``."""
        resized = tf.image.resize(decoding.decode(content, self.channels, index), (self.height, self.width))
        match self.scaling:
            case Scaling.UNIT:
                return resized / 255.0
            case Scaling.TF:
                return resized / 127.5 - 1.0
            case Scaling.CAFFE:
                return resized[..., ::-1] - tf.constant(_IMAGENET_MEAN_BGR)
            case Scaling.TORCH:
                return (resized / 255.0 - tf.constant(_IMAGENET_MEAN)) / tf.constant(_IMAGENET_DEVIATION)
            case Scaling.NONE:
                return resized
