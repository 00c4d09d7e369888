"""docs/reference/cli.md names what the command line has, and nothing that it has not."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from deployer.cli.errors import ExitCode

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
COMMANDS = set(re.findall(r"^`slipway (\w+)", PAGE, re.MULTILINE))


def _help(*arguments: str) -> str:
    code = "from deployer.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments, "--help"], capture_output=True, text=True, timeout=60, check=True
    ).stdout


def test_every_exit_status_is_in_the_table() -> None:
    assert {int(status) for status in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)} == set(ExitCode)


def test_every_command_has_its_entry() -> None:
    listed = _help().partition("Commands:")[2]
    assert set(re.findall(r"^  (\w+) ", listed, re.MULTILINE)) == COMMANDS


@pytest.mark.parametrize("command", ["", *sorted(COMMANDS)])
def test_every_option_is_named(command: str) -> None:
    options = set(re.findall(r"--[a-z]+", _help(*command.split()))) - {"--help"}
    assert options <= set(re.findall(r"--[a-z]+", PAGE))


@pytest.mark.parametrize("variable", sorted(set(re.findall(r"SLIPWAY_\w+", PAGE))))
def test_every_variable_named_is_read(variable: str) -> None:
    assert variable in " ".join(_help().split())
