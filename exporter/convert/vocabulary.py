"""Words and numbers that a model knows: without them its tables would be asked for what they do not have, and nothing else."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from exporter.convert.inference import operations

_VOCABULARIES = frozenset({"StringLookup", "TextVectorization"})
_READ = 1 << 16
"""Bytes of an asset, of which some words are wanted."""
_WORD = re.compile(r"[^\x00-\x1f\ufffd]{1,100}")


def words_of_model(model: Any) -> list[str]:
    """Of the vocabularies of a Keras model's layers, in their order."""
    layers = (layer for layer in operations(model) if type(layer).__name__ in _VOCABULARIES)
    found = [str(word) for layer in layers for word in layer.get_vocabulary(include_special_tokens=False)]
    return [word for word in found if _WORD.fullmatch(word)]


def integers_of_model(model: Any) -> int:
    """How many integers, from 0 on, every layer of a Keras model takes that says how many it takes; else two."""
    said = {"Embedding": "input_dim", "CategoryEncoding": "num_tokens"}
    layers = ((layer, said.get(type(layer).__name__)) for layer in operations(model))
    return min((int(getattr(layer, name)) for layer, name in layers if name is not None), default=2)


def words_of_saved_model(directory: Path) -> list[str]:
    """Of a SavedModel's text assets, by the line up to a tab, and of the lists of strings in its graph."""
    found = [word for file in sorted((directory / "assets").glob("*")) for word in _lines(file)]
    saved = saved_model_pb2.SavedModel.FromString((directory / "saved_model.pb").read_bytes())
    for graph in saved.meta_graphs:
        for nodes in (graph.graph_def.node, *(function.node_def for function in graph.graph_def.library.function)):
            found += [word for node in nodes if node.op == "Const" for word in _strings(node.attr["value"].tensor)]
    return [word for word in found if _WORD.fullmatch(word)]


def _lines(file: Path) -> Iterator[str]:
    if not file.is_file():
        return
    with file.open("rb") as content:
        text = content.read(_READ).decode("utf-8", "replace")
    for line in text.splitlines()[:-1] or [text]:
        yield line.split("\t")[0]


def _strings(tensor: Any) -> Iterator[str]:
    """The ends and the middle of a list: vocabularies of a million words have no more to say here."""
    if tensor.dtype == tf.string.as_datatype_enum and len(tensor.tensor_shape.dim) == 1 and len(tensor.string_val) > 1:
        values = tensor.string_val
        yield from (values[place].decode("utf-8", "replace") for place in (0, len(values) // 2, -1))
