"""What cannot be used gets an error that says what, where and what to do; and nothing that works is changed by it."""

import base64
import json
from pathlib import Path

import pytest

from demo.digits import TRAINING, load, png
from tests.e2e.cloud_user import Answer, StartCloud

IMAGE = png(load()[TRAINING])


def error(answer: Answer, status: int) -> str:
    """The code of an error, whose shape is checked."""
    assert answer.status == status, answer.body
    assert answer.body.keys() == {"error"}
    assert answer.body["error"]["message"]
    assert answer.body["error"]["hint"]
    code: str = answer.body["error"]["code"]
    return code


@pytest.mark.timeout(300)
async def test_bad_uploads_and_bad_requests_change_nothing_that_works(start_cloud: StartCloud, digits: Path) -> None:
    """While a model serves, everything wrong that a user may send is sent."""
    client = await start_cloud({"SLIPWAY_IDLE__ENABLED": "false"})
    model = (digits / "v1" / "digits.keras").read_bytes()
    client.drop("digits.labels.txt", (digits / "v1" / "digits.labels.txt").read_bytes())
    client.drop("digits.keras", model)
    await client.serves("digits", 1)
    good = (await client.classify("digits", IMAGE)).body

    # Uploads whose names make models: refused with a reason that names the file, and a hint.
    bad = {
        "no-model.keras": b"this is a letter to my mother",
        "empty.keras": b"",
        "cut.zip": b"PK\x03\x04" + bytes(200),
        "truncated.keras": model[: len(model) // 2],
        "old.h5": b"\x89HDF\r\n\x1a\n" + bytes(100),
        "strange.keras": model,
    }
    client.drop("strange.yaml", b"replicas: 1\nbatch_size: 3\n")
    client.drop("strange.labels.txt", b"one\ntwo\n")
    for name, content in bad.items():
        client.drop(name, content)
    for name in bad:
        seen = await client.failed(Path(name).stem)
        assert seen["version"] is None
        assert seen["upload"]["reason"], name
        assert seen["upload"]["hint"], name
        await client.tagged(name, "failed")
        assert error(await client.classify(Path(name).stem, IMAGE), 404) == "no_version"
    assert "batch_size" in (await client.model("strange"))["reason"]

    # Uploads that cannot have a record: the answer is at the blob.
    for name in ("cats.onnx", "räuber.keras", f"{'x' * 41}.keras", "folder/cats.keras"):
        client.drop(name, model)
        assert (await client.tagged(name, "failed"))["slipway_reason"]

    # Requests.
    encoded = base64.b64encode(IMAGE)
    post = "/api/classify/digits"
    json_type = {"Content_Type": "application/json"}
    assert error(await client.ask("POST", post, b"not an image", Content_Type="image/png"), 400) == "bad_image"
    assert error(await client.ask("POST", post, IMAGE[:20], Content_Type="image/png"), 400) == "bad_image"
    assert error(await client.ask("POST", post, b""), 400) == "no_image"
    assert error(await client.ask("POST", post, b'{"picture": "x"}', **json_type), 400) == "no_image"
    assert error(await client.ask("POST", post, b'{"image": ', **json_type), 400) == "bad_json"
    assert error(await client.ask("POST", post, b'{"image": "***"}', **json_type), 400) == "bad_base64"
    assert error(await client.ask("POST", f"{post}?top=many", IMAGE, Content_Type="image/png"), 400) == "bad_parameter"
    assert error(await client.classify("nobody", IMAGE), 404) == "unknown_model"
    assert error(await client.ask("GET", "/api/models/nobody"), 404) == "unknown_model"
    assert error(await client.ask("POST", "/api/cluster/explode"), 404) == "unknown_path"
    assert error(await client.ask("POST", post, IMAGE, key=None), 401) == "no_key"
    assert error(await client.ask("POST", post, IMAGE, key="wrong"), 401) == "wrong_key"
    assert (await client.ask("GET", "/api/health", key=None)).body["status"] == "ok"

    # What worked before works as before, in each form.
    assert (await client.classify("digits", IMAGE)).body == good
    as_json = await client.ask("POST", f"{post}?top=3", json.dumps({"image": encoded.decode()}).encode(), **json_type)
    assert as_json.body == good
    two = {"images": [encoded.decode(), base64.urlsafe_b64encode(IMAGE).decode().rstrip("=")]}
    several = await client.ask("POST", f"{post}?top=3", json.dumps(two).encode(), **json_type)
    for found in several.body["predictions"]:  # a batch of two rounds otherwise than a batch of one
        assert [item["label"] for item in found] == [item["label"] for item in good["predictions"][0]]
        assert [item["score"] for item in found] == pytest.approx([item["score"] for item in good["predictions"][0]])
    assert [item["version"] for item in (await client.model("digits"))["versions"]] == [1]
