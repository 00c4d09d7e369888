"""Which Slipway a command talks to."""

import json
from pathlib import Path

import pytest

from deployer.cli.errors import ExitCode, Unreachable, Usage
from deployer.cli.target import Options, Target, find_target

ENDPOINTS = {
    "functions_url": "http://127.0.0.1:7071",
    "function_key": "k",
    "storage_connection_string": "s",
    "arm_url": "a",
}


def test_a_running_local_cloud_is_found_by_its_folder(tmp_path: Path) -> None:
    (tmp_path / "endpoints.json").write_text(json.dumps(ENDPOINTS))
    found = find_target(Options(data=tmp_path))
    assert found == Target("http://127.0.0.1:7071", "k", "s", local=tmp_path / "endpoints.json")


def test_an_address_given_wins_over_a_local_cloud(tmp_path: Path) -> None:
    (tmp_path / "endpoints.json").write_text(json.dumps(ENDPOINTS))
    found = find_target(Options(data=tmp_path, url="https://app.azurewebsites.net/", key="azure"))
    assert found == Target("https://app.azurewebsites.net", "azure", None)


def test_the_key_of_a_local_cloud_is_never_sent_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "endpoints.json").write_text(json.dumps(ENDPOINTS))
    assert find_target(Options(data=tmp_path, url="https://app.azurewebsites.net")).key is None


def test_an_address_that_ends_with_the_route_prefix_means_the_app(tmp_path: Path) -> None:
    assert find_target(Options(data=tmp_path, url="https://app.example/api/")).url == "https://app.example"


def test_without_a_local_cloud_and_an_address_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="No local cloud runs") as missing:
        find_target(Options(data=tmp_path))
    assert "slipway up" in missing.value.hint
    assert missing.value.exit_code is ExitCode.UNREACHABLE


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"functions_url": "http://127.0.0.1:1"}', "\xff"])
def test_a_file_that_tells_nothing_is_an_error_with_its_path(tmp_path: Path, content: str) -> None:
    path = tmp_path / "endpoints.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(Unreachable) as bad:
        find_target(Options(data=tmp_path))
    assert str(path) in bad.value.message


def test_an_address_without_a_scheme_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Usage, match="is no address"):
        find_target(Options(data=tmp_path, url="app.azurewebsites.net"))


def test_pushing_without_a_storage_account_says_how_to_give_one() -> None:
    with pytest.raises(Usage) as missing:
        Target("https://app.example", "k", None).drop_storage()
    assert "SLIPWAY_STORAGE_CONNECTION" in missing.value.hint
