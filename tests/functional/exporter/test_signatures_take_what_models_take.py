"""Models of words, of ragged and sparse tensors and of nested outputs, asked by other means and compared with Keras."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from exporter import VerifiedServable
from tests.functional.exporter.conftest import run_program
from tests.functional.exporter.test_keras_models_become_servables import shape_of

Servables = dict[str, VerifiedServable]
MODELS = ("texts", "ragged", "sparse", "nested")


@pytest.fixture(scope="module")
def known(sources: Path) -> dict[str, Any]:
    """Inputs by name, and what Keras itself answers to them."""
    found: dict[str, Any] = json.loads((sources / "answers.json").read_text())
    return found


@pytest.fixture(scope="module")
def answered(servables: Servables, known: dict[str, Any]) -> dict[str, Any]:
    """What the servables answer to the same."""
    questions = {
        name: {
            "source": None,
            "servable": str(servables[name].directory),
            "requests": {"serving_default": known[name]["inputs"]},
        }
        for name in MODELS
    }
    return dict(json.loads(run_program("ask_servables.py", given=json.dumps(questions)).splitlines()[-1]))


@pytest.mark.parametrize("name", MODELS)
def test_servable_and_keras_answer_alike(answered: dict[str, Any], known: dict[str, Any], name: str) -> None:
    served = answered[name]["servable"]["serving_default"]
    assert served.keys() == known[name]["outputs"].keys()
    for output, wanted in known[name]["outputs"].items():
        assert flat(served[output]) == pytest.approx(flat(wanted), rel=1e-4, abs=1e-6), output


def flat(nested: Any) -> list[float]:
    return [value for item in nested for value in flat(item)] if isinstance(nested, list) else [nested]


def test_a_ragged_tensor_is_a_padded_one_and_the_lengths_of_its_rows(servables: Servables) -> None:
    assert shape_of(servables["ragged"].manifest.signatures["serving_default"]) == (
        {"steps": ("int32", [None, None]), "steps_row_lengths": ("int64", [None])},
        {"vectors": ("float32", [None, None, 2]), "vectors_row_lengths": ("int64", [None])},
    )


def test_a_sparse_tensor_is_taken_as_its_dense_equal(servables: Servables) -> None:
    assert shape_of(servables["sparse"].manifest.signatures["serving_default"])[0] == {"flags": ("float32", [None, 3])}


def test_nested_outputs_are_named_by_their_outermost_keys(servables: Servables) -> None:
    assert list(servables["nested"].manifest.signatures["serving_default"].outputs) == ["kind", "score"]


def test_weights_of_models_with_tables_are_stored_once_too(sources: Path, servables: Servables) -> None:
    parameters = json.loads((sources / "parameters.json").read_text())
    data = servables["texts"].manifest.files["variables/variables.data-00000-of-00001"].bytes
    weights = 4 * parameters["texts"]
    assert weights > 10_000
    assert weights <= data < weights + 3000


def test_words_that_a_model_has_in_its_table_are_asked_for_and_rows_are_neither_empty_nor_full(
    servables: Servables,
) -> None:
    asked = {name: servables[name].manifest.golden[0].inputs for name in ("words", "texts", "ragged")}
    assert asked["words"] == {"word": [[encoded("slipway")]]}
    assert asked["texts"] == {"text": [[encoded("a")]]}
    steps: Any = asked["ragged"]
    assert steps["steps_row_lengths"] == [5]
    assert max(steps["steps"][0]) == 3


def encoded(text: str) -> dict[str, str]:
    return {"b64": base64.b64encode(text.encode()).decode()}
