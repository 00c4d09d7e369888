"""Start, versions coming and going, failing loads, configuration re-read, and the end of the process."""

import shutil
import signal
import socket
import threading
from pathlib import Path

import pytest

from tests.contract.tf_serving.model_server import TESTDATA, WAIT_SECONDS, model_server

HALF_PLUS_TWO = TESTDATA / "saved_model_half_plus_two_cpu" / "00000123"
HALF_PLUS_THREE = TESTDATA / "saved_model_half_plus_three" / "00000123"
QUICK = ("--max_num_load_retries=1", "--load_retry_interval_micros=1000")


def publish(model: Path, version: int, source: Path = HALF_PLUS_TWO) -> Path:
    """A version appears whole, by a rename."""
    staged = model / f"staged-{version}"
    shutil.copytree(source, staged)
    return staged.rename(model / str(version))


def test_it_listens_before_the_model_is_there_and_answers_truly(tmp_path: Path) -> None:
    with model_server(
        tmp_path / "log", "--model_name=m", "--model_base_path=/models/m", mounts={"/models": tmp_path}
    ) as server:
        server.wait_listening()
        assert server.get("m").error == "Could not find any versions of model m"
        assert server.get("m/versions/1/metadata").status == 404
        assert server.post("m:predict", {"instances": [1.0]}).error == "Servable not found for request: Latest(m)"
        server.wait_until(lambda: "Could not find base path /models/m for servable m" in server.log.read_text())
        (tmp_path / "m").mkdir()
        publish(tmp_path / "m", 1)
        server.wait_for("m", v1="AVAILABLE")
        assert server.get("m/versions/1/metadata").status == 200


def test_versions_roll_without_a_gap_and_a_broken_one_changes_nothing(tmp_path: Path) -> None:
    model = tmp_path / "m"
    model.mkdir()
    publish(model, 1)
    with model_server(
        tmp_path / "log", "--model_name=m", "--model_base_path=/models/m", *QUICK, mounts={"/models": tmp_path}
    ) as server:
        server.wait_for("m", v1="AVAILABLE")
        refused: list[object] = []
        done = threading.Event()

        def keep_asking() -> None:
            while not done.is_set():
                reply = server.post("m:predict", {"instances": [2.0]})
                if reply.status != 200:
                    refused.append(reply)

        client = threading.Thread(target=keep_asking)
        client.start()
        try:
            (model / "2").mkdir()
            (model / "2" / "saved_model.pb").write_bytes(b"half a file")
            server.wait_for("m", v1="AVAILABLE", v2="END")
            status = server.get("m/versions/2").json["model_version_status"][0]["status"]
            assert status == {
                "error_code": "DATA_LOSS",
                "error_message": "Can't parse /models/m/2/saved_model.pb as binary proto",
            }
            assert server.post("m/versions/2:predict", {"instances": [2.0]}).status == 404
            publish(model, 3, HALF_PLUS_THREE)
            server.wait_for("m", v1="END", v3="AVAILABLE")
        finally:
            done.set()
            client.join(WAIT_SECONDS)
        assert refused == []
        assert server.post("m:predict", {"instances": [2.0]}).json == {"predictions": [4.0]}
        assert server.states("m") == {"1": "END", "2": "END", "3": "AVAILABLE"}
        shutil.rmtree(model)
        model.mkdir()
        server.wait_for("m", v3="END")
        assert server.post("m:predict", {"instances": [2.0]}).status == 404
        publish(model, 3)
        server.wait_for("m", v3="AVAILABLE")
        assert server.post("m:predict", {"instances": [2.0]}).json == {"predictions": [3.0]}


def test_a_load_is_tried_again_until_the_version_is_whole(tmp_path: Path) -> None:
    model = tmp_path / "m"
    (model / "1").mkdir(parents=True)
    with model_server(
        tmp_path / "log", "--model_base_path=/models/m", "--max_num_load_retries=1000",
        "--load_retry_interval_micros=50000", "--file_system_poll_wait_seconds=0", mounts={"/models": tmp_path},
    ) as server:  # fmt: skip
        server.wait_until(lambda: "Retrying of loading servable" in server.log.read_text())
        assert server.states("default") == {"1": "LOADING"}
        for name in ("variables", "assets", "saved_model.pb"):
            source = HALF_PLUS_TWO / name
            shutil.copytree(source, model / "1" / name) if source.is_dir() else shutil.copy(source, model / "1")
        server.wait_for("default", v1="AVAILABLE")
        assert server.post("default:predict", {"instances": [2.0]}).json == {"predictions": [3.0]}


def test_a_server_whose_only_model_cannot_be_loaded_ends_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "m" / "1").mkdir(parents=True)
    with model_server(
        tmp_path / "log", "--model_name=m", "--model_base_path=/models/m", *QUICK, mounts={"/models": tmp_path}
    ) as server:
        assert server.process.wait(WAIT_SECONDS) == 255
        assert (
            "Failed to start server. Error: UNKNOWN: 1 servable(s) did not become available: {{{name: m version: 1} "
            "due to error: NOT_FOUND: Could not find SavedModel .pb or .pbtxt at supplied export directory path: "
            "/models/m/1. Check that the directory exists"
        ) in server.log.read_text()


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--model_config_file=/data/bad_model_config.txt"], "Invalid protobuf file: '/data/bad_model_config.txt'"),
        (["--model_config_file=/data/none.txt"], "NOT_FOUND: /data/none.txt"),
        (["--model_base_path=/data", "--no_such_flag=1"], "unknown argument: --no_such_flag=1"),
        (["--rest_api_timeout_in_ms=100"], "nothing to serve"),
    ],
)
def test_a_server_that_cannot_be_configured_ends_with_the_reason(tmp_path: Path, flags: list[str], reason: str) -> None:
    with model_server(tmp_path / "log", *flags, mounts={"/data": TESTDATA}) as server:
        assert server.process.wait(WAIT_SECONDS) == 255
        assert reason in server.log.read_text()


def test_labels_at_the_start_need_their_flag(tmp_path: Path) -> None:
    (tmp_path / "models.config").write_text(config("m", 'version_labels { key: "stable" value: 1 }'))
    with model_server(
        tmp_path / "log", "--model_config_file=/config/models.config", mounts={"/config": tmp_path}
    ) as server:
        assert server.process.wait(WAIT_SECONDS) == 255
        assert (
            "FAILED_PRECONDITION: Request to assign label to version 1 of model m, which is not currently available "
            "for inference"
        ) in server.log.read_text()


def config(name: str, more: str = "") -> str:
    return (
        f'model_config_list {{ config {{ name: "{name}" base_path: "/models/m" model_platform: "tensorflow" '
        f"model_version_policy {{ specific {{ versions: 1 versions: 2 }} }} {more} }} }}"
    )


def test_a_configuration_read_again_moves_labels_and_models(tmp_path: Path) -> None:
    model, file = tmp_path / "m", tmp_path / "models.config"
    model.mkdir()
    publish(model, 1)
    publish(model, 2, HALF_PLUS_THREE)
    publish(model, 3)
    file.write_text(config("m"))
    with model_server(
        tmp_path / "log", "--model_config_file=/models/models.config", "--model_config_file_poll_wait_seconds=1",
        mounts={"/models": tmp_path},
    ) as server:  # fmt: skip
        server.wait_for("m", v1="AVAILABLE", v2="AVAILABLE")
        assert server.states("m") == {"1": "AVAILABLE", "2": "AVAILABLE"}
        file.write_text(config("m", 'version_labels { key: "live" value: 2 }'))
        server.wait_until(lambda: server.get("m/labels/live").status == 200)
        assert server.post("m/labels/live:predict", {"instances": [2.0]}).json == {"predictions": [4.0]}
        file.write_text("not a configuration")
        server.wait_until(lambda: "Invalid protobuf file" in server.log.read_text())
        assert server.post("m:predict", {"instances": [2.0]}).status == 200
        file.write_text(config("renamed"))
        server.wait_for("renamed", v2="AVAILABLE")
        assert server.post("m:predict", {"instances": [2.0]}).status == 404


def test_sigterm_lets_a_running_request_finish(tmp_path: Path) -> None:
    with model_server(tmp_path / "log", f"--model_base_path={HALF_PLUS_TWO.parent}") as server:
        server.wait_for("default", v123="AVAILABLE")
        body = b'{"instances": [2.0]}'
        with socket.create_connection((server.address, server.port), timeout=WAIT_SECONDS) as client:
            client.sendall(
                b"POST /v1/models/default:predict HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
            )
            assert client.recv(1000).startswith(b"HTTP/1.1 100 ")  # the request is being handled
            server.process.send_signal(signal.SIGTERM)
            server.wait_until(lambda: "Stopping" in server.log.read_text())
            client.sendall(body)
            answer = b"".join(iter(lambda: client.recv(1000), b""))
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b'"predictions": [3.0' in answer
        assert server.process.wait(WAIT_SECONDS) == 0


def test_sigterm_while_a_model_is_loaded_ends_at_once(tmp_path: Path) -> None:
    (tmp_path / "m" / "1").mkdir(parents=True)
    with model_server(tmp_path / "log", f"--model_base_path={tmp_path / 'm'}") as server:
        server.wait_listening()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(WAIT_SECONDS) == 0
