"""Publishes a verified servable as a version: everything else first, ``saved_model.pb`` last.

TensorFlow Serving takes a directory for a model when ``saved_model.pb`` is in it, so a version is visible when it is whole.
"""

from deployer.ports import ServableStore
from exporter import VerifiedServable

_LAST = "saved_model.pb"


def publish(servable: VerifiedServable, store: ServableStore, *, model: str, version: int) -> int:
    """Uploads the servable to ``MODEL/VERSION/``; returns its size in bytes.

    Safe to repeat: what an interrupted publish of this version left behind is replaced or removed.
    """
    prefix = f"{model}/{version}/"
    files = {
        path.relative_to(servable.directory).as_posix(): path
        for path in servable.directory.rglob("*")
        if path.is_file()
    }  # fmt: skip
    for blob in list(store.listing(prefix)):
        if blob.name.removeprefix(prefix) not in files:
            store.remove(blob.name)
    for name in sorted(files, key=lambda name: (name == _LAST, name)):
        store.upload(prefix + name, files[name])
    return sum(path.stat().st_size for path in files.values())
