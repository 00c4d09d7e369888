"""Makes variables as loading does; prints which of them have what values. Run in a process of its own, as Keras is imported."""

import json
import sys

import keras
import numpy as np

from exporter.convert.unfilled import unfilled_variables


def main() -> None:
    """Three variables: one is assigned to, one is left to its random numbers, one is constant."""
    with unfilled_variables():
        assigned = keras.Variable(keras.initializers.GlorotUniform(seed=1), shape=(64, 64))
        left_out = keras.Variable(keras.initializers.GlorotUniform(seed=1), shape=(64, 64))
        constant = keras.Variable(keras.initializers.Ones(), shape=(3,))
        assigned.assign(np.full((64, 64), 2.0))
    later = keras.Variable(keras.initializers.GlorotUniform(seed=1), shape=(64, 64))
    found = {
        "assigned": bool((assigned.numpy() == 2.0).all()),
        "left_out": bool(np.array_equal(left_out.numpy(), later.numpy()) and later.numpy().std() > 0),
        "constant": constant.numpy().tolist() == [1.0, 1.0, 1.0],
    }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
