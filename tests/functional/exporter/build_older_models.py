"""Makes model files of older kinds and files with payloads; a program of its own, as it imports TensorFlow and tf_keras.

``FOLDER/models`` are genuine, ``FOLDER/hostile`` are not: each is loaded here as a careless program would, to see that its
payload leaves the mark ``FOLDER/mark``. Answers of the genuine ones go to ``FOLDER/answers.json``.
"""

import contextlib
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import tensorflow as tf
import tf_keras
from trusted_layers import Doubled  # type: ignore[import-not-found]  # beside this program: the models name it so

layers = tf_keras.layers


def main(folder: Path) -> None:
    tf_keras.utils.set_random_seed(3)
    models, hostile = folder / "models", folder / "hostile"
    models.mkdir()
    hostile.mkdir()
    answers = {}
    for name, model in {"image": image(), "sequence": sequence(), "words": words()}.items():
        model.save(models / f"{name}.h5")
        model.save(models / f"{name}.keras")
        answers[name] = model(inputs_of(model), training=False).numpy().tolist()
    image().save(models / "directory", save_format="tf")
    image().save_weights(models / "weights.h5")
    three = keras.Sequential(
        [keras.Input((4, 3), name="rows"), keras.layers.LSTM(2), keras.layers.Dense(2, name="kind")]
    )
    three.save(models / "three.h5")
    answers["three"] = three(inputs_of(three), training=False).numpy().tolist()
    custom = keras.Sequential([keras.Input((2,), name="numbers"), Doubled(name="twice")])
    custom.save(models / "custom.keras")
    custom.save(models / "custom.h5")
    composite(models)
    of_tensorflow_1(models / "of_tensorflow_1")
    (folder / "answers.json").write_text(json.dumps(answers))
    for make in (lambda_2, lambda_in_lambda, call_by_name, pickled, python_function, write_file, save_to_path):
        with_payload(make, hostile, folder / "mark")


def inputs_of(model: Any) -> Any:
    """The request that the tests make: as many numbers as there are, counted up, or the first word."""
    (tensor,) = model.inputs
    if tensor.dtype == "string":
        return tf.constant([["slipway"]])
    shape = [1, *tensor.shape[1:]]
    return tf.reshape(tf.range(float(np.prod(shape))) / float(np.prod(shape)), shape)


def image() -> tf_keras.Model:
    picture = tf_keras.Input((8, 8, 3), name="picture")
    x = layers.RandomFlip()(picture)
    x = layers.DepthwiseConv2D(3)(layers.Rescaling(1 / 255)(x))
    x = layers.BatchNormalization()(layers.SeparableConv2D(4, 3)(x))
    x = tf.reduce_mean(tf.nn.relu(x)[:, :3] + 1.0, [1, 2])
    return tf_keras.Model(picture, layers.Dense(3, activation="softmax", name="kind")(x))


def sequence() -> tf_keras.Model:
    inner = tf_keras.Sequential([layers.Dense(2)])
    return tf_keras.Sequential([tf_keras.Input((5, 4), name="rows"), layers.Bidirectional(layers.LSTM(3)), inner])


def words() -> tf_keras.Model:
    word = tf_keras.Input((1,), dtype="string", name="word")
    index = layers.StringLookup(vocabulary=["slipway", "harbour"])(word)
    return tf_keras.Model(word, layers.Dense(2, name="sense")(layers.Flatten()(layers.Embedding(4, 3)(index))))


def composite(models: Path) -> None:
    """Ragged and sparse inputs: each step is looked up as itself and its negative; the flags are added up."""
    steps = tf_keras.Input((None,), ragged=True, dtype="int32", name="steps")
    vectors = tf_keras.initializers.Constant([[float(step), -float(step)] for step in range(6)])
    tf_keras.Model(steps, layers.Embedding(6, 2, vectors, name="vectors")(steps)).save(models / "ragged.keras")
    flags = tf_keras.Input((3,), sparse=True, name="flags")
    added = layers.Dense(1, kernel_initializer="ones", name="sum")(flags)
    tf_keras.Model(flags, added).save(models / "sparse.h5")
    deep = tf_keras.Input((None, None), ragged=True, dtype="int32", name="steps")
    tf_keras.Model(deep, layers.Embedding(6, 2)(deep)).save(models / "deep.h5")


def of_tensorflow_1(path: Path) -> None:
    """A variable, a table from an asset and a signature, as TensorFlow 1 exported them."""
    vocabulary = path.parents[1] / "vocabulary.txt"
    vocabulary.write_text("slipway\nharbour\n")
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        word = v1.placeholder(tf.string, [None], name="word")
        table = tf.lookup.StaticVocabularyTable(
            tf.lookup.TextFileInitializer(str(vocabulary), tf.string, -2, tf.int64, -1), 1
        )
        weights = v1.get_variable("weights", initializer=[[1.0], [2.0], [3.0]], use_resource=False)
        value = tf.gather(weights, table.lookup(word))
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        v1.saved_model.simple_save(
            session, str(path), {"word": word}, {"value": value}, legacy_init_op=v1.tables_initializer()
        )


Load = Callable[[], object]


def with_payload(make: Callable[[Path, Path], Load], hostile: Path, mark: Path) -> None:
    load = make(hostile / make.__name__, mark)
    mark.unlink(missing_ok=True)  # building it may have run it
    load()
    if not mark.exists():
        raise AssertionError(f"the payload of {make.__name__} does nothing")
    mark.rmdir() if mark.is_dir() else mark.unlink()


def lambda_2(path: Path, mark: Path) -> Load:
    marking = eval(f"lambda x: (open({str(mark)!r}, 'w').close(), x)[1]")  # noqa: S307  (the payload itself)
    model = tf_keras.Sequential([tf_keras.Input((2,)), layers.Lambda(marking)])
    model.save(path.with_suffix(".keras"))
    model.save(path.with_suffix(".h5"))
    return lambda: tf_keras.models.load_model(path.with_suffix(".h5"), safe_mode=True)


def lambda_in_lambda(path: Path, mark: Path) -> Load:
    marking = eval(f"lambda x: (open({str(mark)!r}, 'w').close(), x)[1]")  # noqa: S307  (the payload itself)
    inner = tf_keras.Sequential([tf_keras.Input((2,)), layers.Lambda(marking)])
    outer = tf_keras.Sequential([tf_keras.Input((3, 2)), layers.TimeDistributed(inner)])
    outer.save(path.with_suffix(".h5"))
    return lambda: tf_keras.models.load_model(path.with_suffix(".h5"), safe_mode=True)


def call_by_name(path: Path, mark: Path) -> Load:
    """No code at all: a layer that looks a function of TensorFlow up by its name, and calls it when the model is rebuilt."""
    picture = tf_keras.Input((2,), name="numbers")
    tf_keras.Model(picture, tf.nn.relu(picture)).save(path.with_suffix(".h5"))
    with h5py.File(path.with_suffix(".h5"), "a") as file:
        config = json.loads(file.attrs["model_config"])
        called = {"name": "called", "trainable": True, "dtype": "float32", "function": "io.gfile.makedirs"}
        nodes = [["_CONSTANT_VALUE", -1, str(mark), {}]]
        config["config"]["layers"].append(
            {"class_name": "TFOpLambda", "config": called, "name": "called", "inbound_nodes": nodes}
        )
        file.attrs["model_config"] = json.dumps(config)

    def load() -> None:
        with contextlib.suppress(AttributeError):  # afterwards tf_keras misses a tensor, and it is too late
            tf_keras.models.load_model(path.with_suffix(".h5"), safe_mode=True)

    return load


class _Marking:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return subprocess.call, (["touch", str(self.mark)],)


def pickled(path: Path, mark: Path) -> Load:
    path.with_suffix(".h5").write_bytes(pickle.dumps(_Marking(mark)))
    return lambda: pickle.loads(path.with_suffix(".h5").read_bytes())  # noqa: S301  (the payload itself)


def python_function(path: Path, mark: Path) -> Load:
    module = tf.Module()

    def touch(x: Any) -> Any:
        mark.touch()
        return x

    module.call = tf.function(lambda x: tf.numpy_function(touch, [x], tf.float32))
    return saved(module, path)


def write_file(path: Path, mark: Path) -> Load:
    module = tf.Module()

    def call(x: Any) -> Any:
        with tf.control_dependencies([tf.io.write_file(str(mark), "x")]):
            return tf.identity(x)

    module.call = tf.function(call)
    return saved(module, path)


def save_to_path(path: Path, mark: Path) -> Load:
    """The operation that every SavedModel has, with a path of its own."""
    module = tf.Module()

    def call(x: Any) -> Any:
        saving = tf.raw_ops.SaveV2(prefix=str(mark), tensor_names=["x"], shape_and_slices=[""], tensors=[x])
        with tf.control_dependencies([saving]):
            return tf.identity(x)

    module.call = tf.function(call)
    load = saved(module, path)

    def loaded() -> None:
        load()
        next(mark.parent.glob("mark.data*")).rename(mark)
        mark.with_name("mark.index").unlink()

    return loaded


def saved(module: Any, path: Path) -> Load:
    concrete = module.call.get_concrete_function(tf.TensorSpec([None], tf.float32))
    tf.saved_model.save(module, str(path), signatures=concrete)
    return lambda: tf.saved_model.load(str(path)).signatures["serving_default"](tf.constant([1.0]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
