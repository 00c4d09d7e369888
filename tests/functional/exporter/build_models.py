"""Makes the source models of these tests; run as a program of its own, so that pytest's process stays free of TensorFlow."""

import json
import sys
from pathlib import Path

import keras
import tensorflow as tf

layers = keras.layers
constant = keras.initializers.Constant


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
        **unusual(),
        "nan": keras.Sequential([keras.Input((2,)), layers.Dense(1, kernel_initializer=constant(float("nan")))]),
    }
    models["digits"].compile("adam", "sparse_categorical_crossentropy")
    for name, model in models.items():
        model.save(directory / f"{name}.keras")
    parameters = {name: int(model.count_params()) for name, model in models.items()}
    (directory / "parameters.json").write_text(json.dumps(parameters))
    (directory / "answers.json").write_text(json.dumps(answers(models)))
    with_payload(directory / "payload.keras", mark)
    models["logits"].export(directory / "exported", verbose=False)
    tf.saved_model.save(tf.Module(), str(directory / "no_signature"))
    save_what_grappler_breaks(directory / "unoptimizable")
    colour = tf.fill((8, 8, 3), tf.constant(0, tf.uint8)) + tf.constant([200, 100, 50], tf.uint8)
    (directory / "colour.jpg").write_bytes(tf.io.encode_jpeg(colour, quality=100).numpy())
    (directory / "grey.jpg").write_bytes(tf.io.encode_jpeg(colour[..., :1], quality=100).numpy())


def save_what_grappler_breaks(directory: Path) -> None:
    """A model whose input has another for its default, and is called: where Grappler puts the function in place of the
    call, it makes what is fed wait for the default, which is not."""
    v1 = tf.compat.v1
    graph = tf.Graph()
    with graph.as_default(), v1.Session(graph=graph) as session:
        other = v1.placeholder(tf.float32, [None, 4], name="other")
        given = v1.placeholder_with_default(other * 2.0, [None, 4], name="given")
        weights = v1.get_variable("weights", initializer=tf.ones([4, 3]), use_resource=True)
        session.run(v1.global_variables_initializer())
        answer = tf.function(tf.matmul, autograph=False)(given, weights)
        signature = v1.saved_model.signature_def_utils.predict_signature_def({"given": given}, {"answer": answer})
        builder = v1.saved_model.Builder(str(directory))
        builder.add_meta_graph_and_variables(session, ["serve"], signature_def_map={"serving_default": signature})
        builder.save()


def classifier(front: list[keras.Layer], head: keras.Layer) -> keras.Model:
    return keras.Sequential([keras.Input((8, 8, 3)), *front, layers.Conv2D(2, 3), layers.GlobalMaxPooling2D(), head])


def mean(channels: int) -> keras.Model:
    """Scores that are the mean of each channel, so that they tell how an image was read."""
    return keras.Sequential([keras.Input((8, 8, channels)), layers.GlobalAveragePooling2D()])


def unusual() -> dict[str, keras.Model]:
    """Models that look up whole texts, take ragged or sparse tensors, or give nested ones."""
    text = keras.Input((1,), dtype="string", name="text")
    words = layers.TextVectorization(output_sequence_length=4, vocabulary=["a", "fast", "boat"])(text)
    steps = keras.Input((None,), ragged=True, dtype="int32", name="steps")
    flags = keras.Input((3,), sparse=True, name="flags")
    plain = keras.Input((2,), name="plain")
    nested = {"score": layers.Dense(1)(plain), "kind": {"of": layers.Dense(2)(plain)}}
    pooled = layers.GlobalAveragePooling1D()(layers.Embedding(500, 8)(words))
    return {
        "texts": keras.Model(text, layers.Dense(2, name="mood")(pooled)),
        "ragged": keras.Model(steps, layers.Embedding(4, 2, name="vectors")(steps)),
        "sparse": keras.Model(flags, layers.Dense(2, name="sum")(flags)),
        "nested": keras.Model(plain, nested),
    }


def answers(models: dict[str, keras.Model]) -> dict[str, object]:
    """What Keras answers to inputs of the unusual kinds, both in the dense form that a servable has for them."""
    text = [["a fast boat"], ["a slow fast"]]
    vectors = models["ragged"](tf.ragged.constant([[1, 2, 3], [2]]))
    flags = [[0.0, 2.0, 0.0], [1.0, 0.0, 3.0]]
    plain = [[1.0, 2.0]]
    nested = models["nested"](tf.constant(plain))
    given_and_answered = {
        "texts": ({"text": text}, {"mood": models["texts"](tf.constant(text))}),
        "ragged": (
            {"steps": [[1, 2, 3], [2, 0, 0]], "steps_row_lengths": [3, 1]},
            {"vectors": vectors.to_tensor(), "vectors_row_lengths": vectors.row_lengths()},
        ),
        "sparse": ({"flags": flags}, {"sum": models["sparse"](tf.sparse.from_dense(flags))}),
        "nested": ({"plain": plain}, {"score": nested["score"], "kind": nested["kind"]["of"]}),
    }
    return {
        name: {"inputs": given, "outputs": {key: value.numpy().tolist() for key, value in answered.items()}}
        for name, (given, answered) in given_and_answered.items()
    }


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
