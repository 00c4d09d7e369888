"""The command line in this process, against a fake function app and a data folder that tells of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deployer.cli import main
from tests.functional.cli import fake_slipway
from tests.functional.cli.command_line import Outcome, Run, write_endpoints
from tests.functional.cli.fake_slipway import FakeSlipway


@pytest.fixture
def slipway() -> Iterator[FakeSlipway]:
    """A function app that listens."""
    with fake_slipway.running() as fake:
        yield fake


@pytest.fixture
def data(tmp_path: Path, slipway: FakeSlipway) -> Path:
    """The data folder of a local cloud whose function app is the fake."""
    folder = tmp_path / ".slipway"
    folder.mkdir()
    write_endpoints(folder, slipway.url)
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command line and tells how it ended."""
    for name in ("SLIPWAY_URL", "SLIPWAY_KEY", "SLIPWAY_STORAGE_CONNECTION", "SLIPWAY_DATA"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object) -> Outcome:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return Outcome(int(ended.value.code or 0), printed.out, printed.err)

    return run
