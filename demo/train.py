"""Trains the demo's model twice over: ``python -m demo.train FOLDER`` writes FOLDER/v1/digits.keras and FOLDER/v2/digits.keras.

    digits → batches → a small CNN → after a few batches: v1 → after all epochs: v2

Both come from one training, so that TensorFlow is imported once; v1 is what a hurried data scientist would have saved. Labels
lie beside each model, and FOLDER/training.json tells how good they are on digits that neither has seen.
"""

import argparse
import json
import os
from pathlib import Path

from demo.digits import NAMES, SIZE, TRAINING, load

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # minutes of set-up for seconds of work

import keras
import numpy as np

Images = np.ndarray[tuple[int, int, int, int], np.dtype[np.float32]]
Labels = np.ndarray[tuple[int], np.dtype[np.int64]]

_BATCH = 32
_HURRIED_BATCHES = 40  # of the 43 that a whole epoch has


def build() -> keras.Model:
    """A CNN that takes grey values of 0 to 255, scales them itself, and answers with ten probabilities."""
    model = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 1), name="image"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(24, 3, activation="relu", padding="same"),
            keras.layers.Conv2D(24, 3, activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(len(NAMES), activation="softmax"),
        ],
        name="digits",
    )
    model.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def data() -> tuple[Images, Labels]:
    """All digits: images float32 [N, 8, 8, 1] in 0 to 255, labels int64 [N]."""
    digits = load()
    images = np.array([list(digit.pixels) for digit in digits], np.float32).reshape(-1, SIZE, SIZE, 1)
    return images, np.array([digit.label for digit in digits], np.int64)


def train(folder: Path, *, seed: int, epochs: int) -> dict[str, float]:
    """Writes both models with their labels; returns the accuracy of each on unseen digits."""
    keras.utils.set_random_seed(seed)
    images, labels = data()
    model = build()
    hurried = _BATCH * _HURRIED_BATCHES
    model.fit(images[:hurried], labels[:hurried], batch_size=_BATCH, verbose=0)
    accuracies = {"v1": _saved(model, folder / "v1", images[TRAINING:], labels[TRAINING:])}
    model.fit(images[:TRAINING], labels[:TRAINING], batch_size=_BATCH, epochs=epochs, verbose=0)
    accuracies["v2"] = _saved(model, folder / "v2", images[TRAINING:], labels[TRAINING:])
    (folder / "training.json").write_text(json.dumps(accuracies), encoding="utf-8")
    return accuracies


def _saved(model: keras.Model, folder: Path, images: Images, labels: Labels) -> float:
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / "digits.keras")
    (folder / "digits.labels.txt").write_text("\n".join(NAMES) + "\n", encoding="utf-8")
    _, accuracy = model.evaluate(images, labels, verbose=0)
    return float(accuracy)


def main() -> None:
    """Reads the command line and trains."""
    parser = argparse.ArgumentParser(prog="python -m demo.train", description="Train the demo's two models.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=25)
    arguments = parser.parse_args()
    for version, accuracy in train(arguments.folder, seed=arguments.seed, epochs=arguments.epochs).items():
        print(f"{version}: {accuracy:.1%} of unseen digits right")


if __name__ == "__main__":
    main()
