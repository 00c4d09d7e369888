"""A folder of files that change all at once, laid out as Kubernetes lays out ConfigMap and Secret volumes.

``NAME`` leads to ``..data/NAME``, and ``..data`` to a folder that is never changed: a change makes another one and
turns ``..data`` to it.
"""

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

_DATA = "..data"


def put(folder: Path, content: Mapping[str, bytes]) -> bool:
    """Makes ``content``, by path below ``folder``, what the folder holds; tells whether that is a change."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / _DATA
    before = data.resolve() if data.is_symlink() else None
    if before is not None and _held(before) == dict(content):
        return False
    made = folder / f"..{datetime.now(UTC):%Y_%m_%d_%H_%M_%S.%f}"
    made.mkdir()
    for name, text in content.items():
        path = made / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
    turned = folder / "..data_tmp"
    turned.unlink(missing_ok=True)
    turned.symlink_to(made.name)
    turned.replace(data)
    wanted = {PurePosixPath(name).parts[0] for name in content}
    for name in wanted:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"{_DATA}/{name}")
    for path in list(folder.iterdir()):
        if path.is_symlink() and path.name not in {*wanted, _DATA}:
            path.unlink()
    if before is not None:
        shutil.rmtree(before)
    return True


def _held(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
