"""A container's paths, variables and flags become those of a local process."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.kubelet.commands import CommandError, PortForward, command_line, expand, with_free_ports
from localcloud.kubelet.images import Image, ImageRegistry, tensorflow_serving
from localcloud.kubelet.mounts import Mounts

MOUNTS = Mounts({"/models": Path("/data/tree"), "/models/config": Path("/data/config")})


@pytest.mark.parametrize(
    ("text", "mapped"),
    [
        ("--model_base_path=/models/cats", "--model_base_path=/data/tree/cats"),
        ("/models", "/data/tree"),
        ("/models/", "/data/tree/"),
        ("--file=/models/config/a.txt", "--file=/data/config/a.txt"),
        ('base_path: "/models/cats"', 'base_path: "/data/tree/cats"'),
        ("test -r /models/cats && ls /models", "test -r /data/tree/cats && ls /data/tree"),
        ("/models2/cats", "/models2/cats"),
        ("/other/models/cats", "/other/models/cats"),
        ("/models.old", "/models.old"),
        ("http://host/v1/models/cats", "http://host/v1/models/cats"),
    ],
)
def test_only_paths_under_a_mount_are_mapped(text: str, mapped: str) -> None:
    assert MOUNTS.on_host(text) == mapped


@given(st.text())
def test_without_mounts_nothing_is_mapped(text: str) -> None:
    assert Mounts().on_host(text) == text


@pytest.mark.parametrize(
    ("text", "expanded"),
    [("$(NAME)/v1", "cats/v1"), ("$$(NAME)", "$(NAME)"), ("$(OTHER)", "$(OTHER)"), ("$NAME", "$NAME")],
)
def test_variables_expand_as_in_kubernetes(text: str, expanded: str) -> None:
    assert expand(text, {"NAME": "cats"}) == expanded


IMAGE = Image(
    "test/server:*",
    ("python", "server.py"),
    programs={"serve": ("python", "server.py")},
    default_flags=("--port=80", "--root=/models/$(NAME)"),
)


def test_args_replace_the_images_own_flags() -> None:
    """As with TensorFlow Serving's entry point, whose flags come first and lose."""
    argv = command_line({"args": ["--port=81"]}, IMAGE, {"NAME": "cats"}, MOUNTS)
    assert argv == ["python", "server.py", "--root=/data/tree/cats", "--port=81"]


def test_a_command_names_a_program_of_the_image() -> None:
    argv = command_line({"command": ["/usr/bin/serve", "-v"], "args": ["/models/x"]}, IMAGE, {}, MOUNTS)
    assert argv == ["python", "server.py", "-v", "/data/tree/x"]


def test_a_program_the_image_does_not_have_cannot_be_started() -> None:
    with pytest.raises(CommandError, match='exec: "/bin/other": executable file not found') as refused:
        command_line({"command": ["/bin/other"]}, IMAGE, {}, MOUNTS)
    assert refused.value.reason == "RunContainerError"


def test_an_image_that_honours_mounts_gets_its_paths_as_written() -> None:
    image = Image("test/a", ("a",), honours_mounts=True)
    assert command_line({"args": ["/models/x"]}, image, {}, MOUNTS) == ["a", "/models/x"]


def test_ports_of_a_program_that_listens_everywhere_are_replaced_and_forwarded() -> None:
    argv, forwards = with_free_ports(
        ["tf", "--port=8500", "--rest_api_port=8501", "--other=1"], ("--port", "--rest_api_port"), [40001, 40002]
    )
    assert argv == ["tf", "--port=40001", "--rest_api_port=40002", "--other=1"]
    assert forwards == [PortForward(8500, 40001), PortForward(8501, 40002)]


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("tensorflow/serving:2.20.0-gpu", True),
        ("docker.io/tensorflow/serving:2.20.0", True),
        ("registry.example.com:5000/tensorflow/serving:2.20.0", True),
        ("tensorflow/serving", False),
        ("someone/tensorflow/serving:1", False),
        ("nginx:1", False),
    ],
)
def test_images_are_found_with_and_without_a_registry_host(reference: str, found: bool) -> None:
    assert (ImageRegistry([tensorflow_serving()]).find(reference) is not None) is found
