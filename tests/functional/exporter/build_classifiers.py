"""Makes SavedModels that classify images, or nearly, of several ages; a program of its own, as it imports TensorFlow.

The scores of the first three are the means of an image's channels, so that they tell how it was read.
"""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

v1 = tf.compat.v1
layers = keras.layers


def main(folder: Path) -> None:
    keras.utils.set_random_seed(5)
    exported(folder / "of_keras", keras.Input((8, 8, 3)), layers.GlobalAveragePooling2D())
    of_any_size = keras.Sequential([keras.Input((None, None, 1)), layers.Conv2D(2, 3), layers.GlobalMaxPooling2D()])
    exported(folder / "of_any_size", of_any_size.inputs[0], of_any_size, layers.Dense(1, activation="sigmoid"))
    exported(folder / "of_vectors", keras.Input((6,)), layers.Dense(3))
    exported(folder / "of_bytes", keras.Input((8, 8, 3), dtype="uint8"), layers.Flatten())
    exported(folder / "of_two_channels", keras.Input((8, 8, 2)), layers.GlobalAveragePooling2D())
    of_one_image(folder / "of_one_image")
    exported(folder / "to_images", keras.Input((8, 8, 3)), layers.Conv2D(2, 3))
    exported(folder / "not_numbers", keras.Input((2,)), layers.Dense(1, kernel_initializer=constant(float("nan"))))
    v1.disable_control_flow_v2()  # loops of Enter, Exit and Merge, as TensorFlow 1 wrote them
    v1.disable_resource_variables()
    of_tensorflow_1(
        folder / "of_tensorflow_1", folder / "words.txt", lambda: v1.placeholder(tf.float32, [None, 8, 8, 3])
    )
    of_tensorflow_1(folder / "of_computed", folder / "words.txt", lambda: parsed(v1.placeholder(tf.string, [None])))
    shutil.copytree(folder / "of_tensorflow_1", folder / "of_tensorflow_1_0")
    aged(folder / "of_tensorflow_1_0" / "saved_model.pb")


def constant(value: float) -> Any:
    return keras.initializers.Constant(value)


def exported(folder: Path, given: Any, *following: Callable[[Any], Any]) -> None:
    output = given
    for layer in following:
        output = layer(output)
    keras.Model(given, output).export(folder, verbose=False)


def of_one_image(folder: Path) -> None:
    module = tf.Module()
    module.mean = tf.function(lambda image: tf.reduce_mean(image, (1, 2)), [tf.TensorSpec((1, 8, 8, 3), tf.float32)])
    tf.saved_model.save(module, str(folder), signatures=module.mean)


def of_tensorflow_1(folder: Path, words: Path, image: Callable[[], Any]) -> None:
    """Variables by reference, in parts; a loop; a table from an asset; a word for the table in a signature of its own."""
    words.write_text("none\none\ntwo\n")
    with tf.Graph().as_default(), v1.Session() as session:
        pictures = image()
        weights = v1.get_variable(
            "weights", (3, 3), initializer=v1.initializers.identity(), partitioner=v1.fixed_size_partitioner(2)
        )
        shift = v1.get_variable("shift", (), initializer=v1.initializers.constant(2.0))
        table = tf.lookup.StaticVocabularyTable(
            tf.lookup.TextFileInitializer(
                str(words), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
            ),
            num_oov_buckets=1,
        )
        means = tf.matmul(tf.reduce_mean(pictures, (1, 2)), tf.convert_to_tensor(weights))
        _, shifted = tf.while_loop(
            lambda turn, _: turn < 3, lambda turn, value: (turn + 1, value + shift), (tf.constant(0), means)
        )
        scores = (shifted - 3.0 * shift) * tf.cast(table.lookup(tf.constant("one")), tf.float32)
        word = v1.placeholder(tf.string, [None])
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            signature_def_map={
                "serving_default": v1.saved_model.predict_signature_def({"pictures": pictures}, {"scores": scores}),
                "words": v1.saved_model.predict_signature_def({"word": word}, {"place": table.lookup(word)}),
            },
            assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
            main_op=v1.tables_initializer(),
        )
        builder.save()


def parsed(examples: Any) -> Any:
    """The pictures in serialized Examples: the input that the signature names is computed from these."""
    feature = tf.io.FixedLenFeature([8 * 8 * 3], tf.float32)
    return tf.reshape(tf.io.parse_example(examples, {"picture": feature})["picture"], (-1, 8, 8, 3))


def aged(file: Path) -> None:
    """As TensorFlow 1.0 wrote: what to run after loading is named otherwise, and a placeholder may have no shape."""
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    (graph,) = saved.meta_graphs
    graph.collection_def["legacy_init_op"].CopyFrom(graph.collection_def["saved_model_main_op"])
    del graph.collection_def["saved_model_main_op"]
    taken = graph.signature_def["serving_default"].inputs["pictures"].name.split(":")[0]
    (placeholder,) = (node for node in graph.graph_def.node if node.name == taken)
    del placeholder.attr["shape"]
    file.write_bytes(saved.SerializeToString())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
