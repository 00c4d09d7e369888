"""Makes the source models of these tests; run as a program of its own, so that pytest's process stays free of TensorFlow."""

import json
import sys
from pathlib import Path

import keras
import tensorflow as tf

layers = keras.layers


def main(directory: Path, mark: Path) -> None:
    keras.utils.set_random_seed(7)
    models = {
        "digits": keras.Sequential(
            [
                keras.Input((8, 8, 1), name="image"),
                layers.RandomFlip(),
                layers.Conv2D(4, 3, activation="relu"),
                layers.BatchNormalization(),
                layers.Flatten(),
                layers.Dropout(0.5),
                layers.Dense(3, activation="softmax", name="digit"),
            ]
        ),
        "two": two_inputs(),
        "rescaling": classifier([layers.Rescaling(1 / 127.5, offset=-1)], layers.Dense(3, activation="softmax")),
        "logits": classifier([], layers.Dense(3, name="logits")),
        "sigmoid": classifier([], layers.Dense(1, activation="sigmoid")),
        "words": words(),
        **{f"mean_{channels}": mean(channels) for channels in (1, 3, 4)},
    }
    models["digits"].compile("adam", "sparse_categorical_crossentropy")
    for name, model in models.items():
        model.save(directory / f"{name}.keras")
    parameters = {name: int(model.count_params()) for name, model in models.items()}
    (directory / "parameters.json").write_text(json.dumps(parameters))
    with_payload(directory / "payload.keras", mark)
    models["logits"].export(directory / "exported", verbose=False)
    tf.saved_model.save(tf.Module(), str(directory / "no_signature"))
    colour = tf.fill((8, 8, 3), tf.constant(0, tf.uint8)) + tf.constant([200, 100, 50], tf.uint8)
    (directory / "colour.jpg").write_bytes(tf.io.encode_jpeg(colour, quality=100).numpy())
    (directory / "grey.jpg").write_bytes(tf.io.encode_jpeg(colour[..., :1], quality=100).numpy())


def classifier(front: list[keras.Layer], head: keras.Layer) -> keras.Model:
    return keras.Sequential([keras.Input((8, 8, 3)), *front, layers.Conv2D(2, 3), layers.GlobalMaxPooling2D(), head])


def mean(channels: int) -> keras.Model:
    """Scores that are the mean of each channel, so that they tell how an image was read."""
    return keras.Sequential([keras.Input((8, 8, channels)), layers.GlobalAveragePooling2D()])


def two_inputs() -> keras.Model:
    left, right = keras.Input((4,), name="left"), keras.Input((2, 3), name="right")
    joined = layers.Concatenate()([left, layers.Flatten()(right)])
    score, kind = layers.Dense(1, name="score")(joined), layers.Dense(2, activation="softmax", name="kind")(joined)
    return keras.Model([left, right], [score, keras.ops.add(kind, 1.0)])


def words() -> keras.Model:
    word = keras.Input((1,), dtype="string", name="word")
    index = layers.StringLookup(vocabulary=["slipway", "harbour"])(word)
    return keras.Model(word, layers.Dense(2, name="sense")(layers.Flatten()(layers.Embedding(4, 3)(index))))


def with_payload(path: Path, mark: Path) -> None:
    keras.config.enable_unsafe_deserialization()
    code = f"lambda x: (open({str(mark)!r}, 'w').close(), x)[1]"
    keras.Sequential([keras.Input((2,)), layers.Lambda(eval(code))]).save(path)  # noqa: S307  (the payload itself)
    mark.unlink()  # building the model called it once


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
