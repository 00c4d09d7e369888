"""The sidecar that reads a servable onto the node while the model server's image is pulled: as rendered, and as it runs."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.templates.test_templates_are_valid import find, rendered

IMAGE = "example.azurecr.io/busybox:1.37.0"


def pod(**settings: Any) -> dict[str, Any]:
    found: dict[str, Any] = find(rendered(**settings), "Deployment")["spec"]["template"]["spec"]
    return found


def cache_timeout(**settings: Any) -> list[str]:
    options = find(rendered(**settings), "PersistentVolume")["spec"]["mountOptions"]
    return [option for option in options if option.startswith("--file-cache-timeout")]


def test_off_by_default_nothing_is_rendered_of_it() -> None:
    assert "initContainers" not in pod()
    assert cache_timeout() == ["--file-cache-timeout-in-seconds=120"]


def test_the_image_that_is_set_reads_the_versions_own_folder_beside_the_model_server() -> None:
    (sidecar,) = pod(prefetch_image=IMAGE)["initContainers"]
    (server,) = pod(prefetch_image=IMAGE)["containers"]
    assert (sidecar["image"], sidecar["restartPolicy"]) == (IMAGE, "Always")
    assert sidecar["command"][-1] == "/models/cats/3"
    assert [mount for mount in server["volumeMounts"] if mount["name"] == "servables"] == sidecar["volumeMounts"]
    assert not {"startupProbe", "readinessProbe", "livenessProbe"} & sidecar.keys()


def test_all_else_is_as_without_it() -> None:
    with_it = pod(prefetch_image=IMAGE)
    del with_it["initContainers"]
    assert with_it == pod()


def test_what_was_read_stays_on_the_node_for_as_long_as_pods_may_take() -> None:
    assert cache_timeout(prefetch_image=IMAGE) == ["--file-cache-timeout-in-seconds=900"]
    assert pod(prefetch_image=IMAGE)["containers"][0]["startupProbe"]["failureThreshold"] == 900


def test_kserve_goes_without_it() -> None:
    settings: dict[str, Any] = {"flavor": "kserve", "prefetch_image": IMAGE}
    assert "initContainers" not in find(rendered(**settings), "InferenceService")["spec"]["predictor"]
    assert cache_timeout(**settings) == ["--file-cache-timeout-in-seconds=120"]


def until(look: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not look():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.02)


class Sidecar:
    """The rendered command as a process, over a folder of the test's, with a ``cat`` that notes what it has read."""

    def __init__(self, folder: Path, notes: Path) -> None:
        programs = notes.parent / "programs"
        programs.mkdir()
        cat = programs / "cat"
        real = shutil.which("cat")
        cat.write_text(
            f"#!/bin/sh\nprintf '%s\\n' \"$@\" >> '{notes}.part'\n{real} \"$@\"\nmv '{notes}.part' '{notes}'\n"
        )
        cat.chmod(0o700)
        (container,) = pod(prefetch_image=IMAGE)["initContainers"]
        command = [*container["command"][:-1], str(folder)]
        self.errors = notes.parent / "errors"
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                command, env={"PATH": f"{programs}:/usr/bin:/bin"}, stderr=errors, start_new_session=True
            )

    def end(self) -> int:
        """Its exit code when it is told to end."""
        self.process.terminate()
        return self.process.wait(30)


@pytest.fixture
def start(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[Path], Sidecar]:
    def started(folder: Path) -> Sidecar:
        sidecar = Sidecar(folder, tmp_path / "read")

        def ended() -> None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(sidecar.process.pid, signal.SIGKILL)
            sidecar.process.wait(30)

        request.addfinalizer(ended)
        return sidecar

    return started


def test_each_file_is_read_once_whatever_its_name(tmp_path: Path, start: Callable[[Path], Sidecar]) -> None:
    folder = tmp_path / "a model's"
    names = ["saved_model.pb", "variables/variables.data-00000-of-00001", "assets/two words", "assets/$(x) 'y'", "-n"]
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("content")
    sidecar = start(folder)
    until((tmp_path / "read").exists, "all is read")
    assert sorted((tmp_path / "read").read_text().splitlines()) == sorted(str(folder / name) for name in names)
    assert sidecar.end() == 0


def test_a_folder_that_cannot_be_read_does_not_end_it(tmp_path: Path, start: Callable[[Path], Sidecar]) -> None:
    """A sidecar that ends makes its pod unready."""
    sidecar = start(tmp_path / "missing")
    until(lambda: "missing" in sidecar.errors.read_text(), "it has said so")
    with pytest.raises(subprocess.TimeoutExpired):
        sidecar.process.wait(0.5)
    assert sidecar.end() == 0
