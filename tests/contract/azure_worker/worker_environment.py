"""The environment of Microsoft's Python worker library: Python 3.13, what the app imports, and no TensorFlow.

Kept in ``.venv-worker`` at the root of the repository and made anew when its requirements or the interpreter change. In
``requirements.in`` stand the library and the app's own dependencies without TensorFlow and Keras; ``requirements.txt`` is
``uv pip compile --universal --python-version 3.13 --no-header --no-annotate --no-emit-index-url -c requirements.txt`` of it,
the constraint being the one at the root.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
_FOLDER = ROOT / ".venv-worker"
_STAMP = _FOLDER / "made-from"


def python_3_13() -> str | None:
    """An interpreter of Python 3.13 that starts, or None where this machine has none."""
    return next((python for python in _candidates() if _is_3_13(python)), None)


def worker_python(python: str) -> Path:
    """The interpreter of the worker's environment, made with ``python`` if it is not there yet."""
    made_from = hashlib.sha256(REQUIREMENTS.read_bytes() + python.encode()).hexdigest()
    interpreter = _FOLDER / "bin" / "python"
    if not (_STAMP.is_file() and _STAMP.read_text() == made_from and interpreter.exists()):
        _run([python, "-m", "venv", "--clear", str(_FOLDER)])
        _run(
            [
                str(interpreter),
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "-r",
                str(REQUIREMENTS),
            ]
        )
        _STAMP.write_text(made_from)
    return interpreter


def _candidates() -> Iterator[str]:
    yield sys.executable
    if found := shutil.which("python3.13"):
        yield found
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from map(str, sorted(pyenv.glob("versions/3.13*/bin/python3.13"), reverse=True))
    uv = [sys.executable, "-m", "uv", "--no-python-downloads", "python", "find", "3.13"]
    found_by_uv = subprocess.run(uv, capture_output=True, text=True, check=False, timeout=60)
    if found_by_uv.returncode == 0:
        yield found_by_uv.stdout.strip()


def _is_3_13(python: str) -> bool:
    """A shim on the path may name an interpreter that is not installed."""
    question = "import sys; sys.exit(sys.version_info[:2] != (3, 13))"
    return subprocess.run([python, "-c", question], capture_output=True, check=False, timeout=60).returncode == 0


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=540)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
