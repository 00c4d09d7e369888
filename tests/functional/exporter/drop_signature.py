"""Takes a signature out of a ``saved_model.pb``; a program of its own, as it imports TensorFlow. Arguments: file, name."""

import sys
from pathlib import Path

from tensorflow.core.protobuf import saved_model_pb2


def main(file: Path, name: str) -> None:
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    for graph in saved.meta_graphs:
        del graph.signature_def[name]
    file.write_bytes(saved.SerializeToString())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
