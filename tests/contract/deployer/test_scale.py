"""A small version of ``benchmarks/scale.py``: on the real Azurite, looks cost the same calls however many models there are."""

from collections import Counter
from collections.abc import Iterator

import pytest

from benchmarks.scale import Look, Storage, measured, missed


@pytest.fixture
def storage(azurite: str) -> Iterator[Storage]:
    with Storage.at(azurite) as storage:
        yield storage


def test_looks_at_10_and_at_60_models_cost_the_same_calls(storage: Storage) -> None:
    found = measured(storage, (10, 60))
    assert missed(found) == []
    kinds = {name: look.calls for name, look in found[60].items()}
    assert kinds["list of models"] == {"list": 1}
    assert kinds["sweep"]["list"] == 3  # models, uploads, operations
    assert (
        kinds["idle check"]["list"] == 4
    )  # models, the ledger's months; notes of requests, to gather and to read them
    assert kinds["upload"]["queue"] == 1


def test_a_look_that_costs_a_call_per_model_is_found_out() -> None:
    few, many = ({"sweep": Look(Counter(list=2, read=number), 0.1)} for number in (0, 1))
    assert missed({10: few, 60: many}) == ["sweep with 60 models: 3 calls, with 10 2"]
    assert missed({10: few, 60: few}) == []


def test_uploads_at_once_each_told_of_twice_make_one_version_each(storage: Storage) -> None:
    drain = storage.drain(20)
    assert (drain.published, drain.asked, drain.failures, drain.poison) == (20, 20, 0, 0)
