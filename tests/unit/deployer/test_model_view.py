"""What ``GET /api/models/NAME`` says beyond the record: how to ask the model, and when it was asked last."""

import pytest

from deployer.errors import NotFound
from tests.deployed import Deployed


def test_a_model_that_was_never_asked_says_so_and_how_to_ask_it() -> None:
    slipway = Deployed()
    slipway.drop("cats.keras", b"model")
    shown = slipway.told_of("cats")
    assert shown["last_request"] is None
    assert shown["endpoint"] == {
        "classify": "/api/classify/cats", "predict": "/api/v1/models/cats:predict",
        "openapi": "/api/models/cats/openapi.json",
    }  # fmt: skip
    assert "/classify/cats" in slipway.control.openapi("cats")["paths"]
    assert {"/classify/cats", "/models"} <= set(slipway.control.openapi()["paths"])


def test_the_last_request_is_that_of_all_instances_and_of_no_other_model() -> None:
    slipway = Deployed()
    slipway.drop("cats.keras", b"model")
    for path in ("activity/cats/a", "activity/cats/b", "activity/cats-v2/a"):
        slipway.world.pass_time(60)
        slipway.documents.put(path, b"")
    asked = slipway.documents.blobs["activity/cats/b"].modified
    assert slipway.told_of("cats")["last_request"] == asked.isoformat()


@pytest.mark.parametrize("name", ["dogs", "../cats", "", "a" * 300])
def test_a_name_of_no_model_is_not_found(name: str) -> None:
    slipway = Deployed()
    with pytest.raises(NotFound):
        slipway.control.model(name)
    with pytest.raises(NotFound):
        slipway.control.openapi(name)
