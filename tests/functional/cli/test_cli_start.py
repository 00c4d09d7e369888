"""How the command starts: at once, and with nothing that it does not need."""

import subprocess
import sys

import pytest

HEAVY = ("tensorflow", "keras", "numpy", "azure", "kubernetes", "aiohttp", "localcloud", "rich.table")


@pytest.mark.parametrize("arguments", [["--help"], ["push", "--help"], ["up", "--help"]])
def test_help_is_printed_without_importing_anything_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from deployer.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as ended:\n    assert not ended.code, ended.code\n"
        f"print('heavy:', [name for name in {HEAVY} if name in sys.modules])\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.endswith("heavy: []\n")
