"""The request path as its clients see it: over real connections, through the Functions host."""

import base64
import json
import socket
import threading

import pytest

from tests.functional.request_path.served import SECONDS, Served
from tests.unit.request.pictures import bmp, gif, jpeg, png

LYNX = [{"label": "lynx", "score": 0.9}, {"label": "cat", "score": 0.1}]
PNG = png()
FORM = "multipart/form-data; boundary=xYz"


def form(*images: bytes) -> bytes:
    part = b'--xYz\r\nContent-Disposition: form-data; name="image"; filename="cat.png"\r\n\r\n'
    return b"".join(part + image + b"\r\n" for image in images) + b"--xYz--\r\n"


def head(served: Served) -> bytes:
    lines = (
        "POST /api/classify/cats HTTP/1.1",
        "Host: x",
        f"x-functions-key: {served.key}",
        f"Content-Length: {len(PNG)}",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@pytest.mark.parametrize("image", [PNG, jpeg(), gif(), bmp()])
def test_an_image_of_each_kind_is_classified(served: Served, image: bytes) -> None:
    answer = served.classify(image, "application/octet-stream")
    assert answer.status == 200
    assert answer.json == {"model": "cats", "version": 1, "predictions": [LYNX]}
    assert answer.headers["x-slipway-model-version"] == "1"
    assert answer.headers["Content-Type"] == "application/json"


def test_forms_and_json_carry_one_image_or_many(served: Served) -> None:
    text = base64.b64encode(PNG).decode()
    url_safe = base64.urlsafe_b64encode(PNG).decode().rstrip("=")
    for kind, body, count in (
        (FORM, form(PNG), 1),
        (FORM, form(PNG, PNG, PNG), 3),
        ("application/json", json.dumps({"image": text}).encode(), 1),
        ("application/json", json.dumps({"images": [text, url_safe]}).encode(), 2),
    ):
        assert served.classify(body, kind).json["predictions"] == [LYNX] * count


def test_the_answer_may_be_bounded_and_the_version_chosen(served: Served) -> None:
    assert served.classify(PNG, query="?top=1").json["predictions"] == [LYNX[:1]]
    assert served.classify(PNG, query="?min_score=0.5").json["predictions"] == [LYNX[:1]]
    chosen = served.classify(PNG, query="?version=2")
    assert (chosen.json["version"], chosen.headers["x-slipway-model-version"]) == (2, "2")
    assert served.classify(PNG, query="?version=7").code == "unknown_version"


def test_a_model_that_classifies_no_images_names_its_signatures_and_the_way(served: Served) -> None:
    answer = served.ask("POST", "/api/classify/numbers", PNG)
    assert (answer.status, answer.code) == (409, "no_classifier")
    assert "serving_default, embed" in answer.json["error"]["message"]
    assert "/api/v1/models/numbers:predict" in answer.json["error"]["hint"]


def test_addresses_are_not_fetched_unless_allowed(served: Served) -> None:
    for url in ("https://cats.blob.core.windows.net/a/b.png", "http://169.254.169.254/metadata", "file:///etc/passwd"):
        answer = served.classify(json.dumps({"url": url}).encode(), "application/json")
        assert (answer.status, answer.code) == (403, "url_not_allowed")


def test_tensorflow_servings_clients_change_their_base_url_and_key_only(served: Served) -> None:
    body = {"signature_name": "classify_image", "inputs": {"image_bytes": [{"b64": "AAAA"}]}}
    answer = served.ask("POST", "/api/v1/models/cats:predict", json.dumps(body).encode())
    assert answer.json == {"outputs": {"labels": [["lynx", "cat"]], "scores": [[0.9, 0.1]]}}
    assert answer.headers["x-slipway-model-version"] == "1"
    for path, asked in (
        ("cats", "/v1/models/cats/versions/1"),
        ("cats/versions/2", "/v1/models/cats/versions/2"),
        ("cats/versions/1/metadata", "/v1/models/cats/versions/1/metadata"),
        ("cats/labels/stable/metadata", "/v1/models/cats/versions/1/metadata"),
    ):
        assert served.ask("GET", f"/api/v1/models/{path}").json["asked"] == asked
    wrong = served.ask("POST", "/api/v1/models/cats:predict", b"{")
    assert (wrong.status, wrong.json) == (400, {"error": "JSON Parse error: Invalid value. at offset: 0"})
    unknown = served.ask("POST", "/api/v1/models/dogs:predict", b"{}")
    assert (unknown.status, unknown.json["error"]) == (404, "Servable not found for request: Latest(dogs)")


def test_every_answer_has_a_request_id_and_a_callers_own_comes_back(served: Served) -> None:
    for method, path in (
        ("POST", "/api/classify/cats"), ("GET", "/api/v1/models/cats"), ("GET", "/api/models"), ("GET", "/api/models/x"),
        ("GET", "/api/health"),
    ):  # fmt: skip
        own = served.ask(method, path, headers={"X-Request-ID": "trace-1.2"})
        assert own.headers["x-request-id"] == "trace-1.2", path
        first, second = (served.ask(method, path).headers["x-request-id"] for _ in range(2))
        assert first and second and first != second


def test_a_client_that_drips_its_body_delays_no_other(served: Served) -> None:
    """Its request lies half sent while the others are answered, and is answered, too, in the end."""
    with socket.create_connection(("127.0.0.1", served.port), SECONDS) as slow:
        slow.sendall(head(served) + PNG[:50])
        assert [served.classify(PNG).status for _ in range(20)] == [200] * 20
        slow.sendall(PNG[50:])
        assert slow.recv(12) == b"HTTP/1.1 200"


def test_many_idle_connections_are_held_and_served_again(served: Served) -> None:
    request = head(served)
    idle = [socket.create_connection(("127.0.0.1", served.port), SECONDS) for _ in range(300)]
    try:
        assert served.classify(PNG).status == 200
        for connection in idle[::10]:
            connection.sendall(request + PNG)
            assert connection.recv(12) == b"HTTP/1.1 200"
    finally:
        for connection in idle:
            connection.close()


def test_clients_at_once_each_get_their_own_answer(served: Served) -> None:
    """Each asks for another number of images, and gets as many answers."""
    wrong: list[int] = []

    def client(count: int) -> None:
        for _ in range(10):
            if len(served.classify(form(*[PNG] * count), FORM).json["predictions"]) != count:
                wrong.append(count)

    threads = [threading.Thread(target=client, args=(1 + number % 4,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert wrong == []
    assert not any(thread.is_alive() for thread in threads)


def test_a_sleeping_model_says_when_to_come_back_and_is_woken_once(served: Served) -> None:
    served.put_to_sleep("lions")
    answers = [served.ask("POST", "/api/classify/lions", PNG) for _ in range(3)]
    for answer in answers:
        assert (answer.status, answer.code) == (503, "waking")
        assert 1 <= int(answer.headers["Retry-After"]) == answer.json["error"]["eta_seconds"] <= 6
        assert answer.json["error"]["stage"]
    assert served.ask("GET", "/api/v1/models/lions/metadata").status == 503
    told = served.ask("GET", "/api/models/lions").json
    assert [entry["what"] for entry in told["history"]].count("woken") == 1
    served.forget("lions")


def test_a_request_may_be_held_until_its_model_is_awake(served: Served) -> None:
    served.put_to_sleep("tigers")
    answers: list[int] = []

    def ask() -> None:
        held = {"Prefer": "wait=25", "Content-Type": "image/png"}
        answers.append(served.ask("POST", "/api/classify/tigers", PNG, held).status)

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    while served.ask("GET", "/api/models/tigers").json["state"] == "asleep":
        assert answers == []
    served.serve("tigers")
    for thread in threads:
        thread.join(SECONDS)
    assert answers == [200] * 5
    served.forget("tigers")


def test_who_names_a_session_stays_on_one_side_of_a_canary(served: Served) -> None:
    served.try_canary("pumas", 50)
    sides = {
        session: {
            served.ask("POST", "/api/classify/pumas", PNG, {"x-slipway-session": session}).headers[
                "x-slipway-model-version"
            ]
            for _ in range(4)
        }
        for session in map(str, range(24))
    }
    assert {len(versions) for versions in sides.values()} == {1}
    assert set.union(*sides.values()) == {"1", "2"}  # by their digests: the same each time
    served.forget("pumas")


def test_a_client_that_does_not_read_its_answer_delays_no_other(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), SECONDS) as deaf:
        for _ in range(50):
            deaf.sendall(head(served) + PNG)
        assert [served.classify(PNG).status for _ in range(20)] == [200] * 20
