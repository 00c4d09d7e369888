"""Lists what an HDF5 file says of itself; a program of its own, that is asked once: by a message on its standard input.

libhdf5 is C code that reads untrusted bytes, so ``hdf5_scan`` runs this in a process that may crash, and that gives up
files, network and other processes before it reads any of them. Nothing is imported but h5py, and no dataset's content is
read: only the tree of objects, their declared sizes and the few attributes in which Keras keeps a model. The answer is one
JSON object on standard output.
"""

import importlib.util
import io
import json
import os
import resource
import select
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
from h5py import h5a, h5d, h5g, h5i, h5l, h5o, h5s, h5t, h5z

_FILTERS = frozenset({h5z.FILTER_DEFLATE, h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32, h5z.FILTER_LZF, h5z.FILTER_SZIP})
_READ = ("model_config", "keras_version", "backend")
_MIB = 1 << 20
_MOST_FINDINGS = 100
_STDIN = 0
_IDLE_SECONDS = 900
_LONGEST_REQUEST = 1 << 17


def main() -> int:
    """Walks the file that comes with the request, within the limits that it gives; ends if none comes."""
    request = _request()
    if request is None:
        return 0
    confine(request)
    try:
        answer = _Walk(request).answer()
    except (OSError, RuntimeError, ValueError, TypeError, KeyError, OverflowError, MemoryError) as error:
        answer = {"damaged": f"{type(error).__name__}: {error}"[:300]}
    json.dump(answer, sys.stdout)
    return 0


def _request() -> dict[str, Any] | None:
    """What is asked on the socket that is standard input, in place of which the file comes that it is about."""
    if not select.select([_STDIN], [], [], _IDLE_SECONDS)[0]:
        return None
    with socket.socket(fileno=os.dup(_STDIN)) as channel:
        content, files, _, _ = socket.recv_fds(channel, _LONGEST_REQUEST, 1)
    if not files:
        return None
    os.dup2(files[0], _STDIN)
    os.close(files[0])
    request: dict[str, Any] = json.loads(content)
    return request


def confine(request: dict[str, Any]) -> bool:
    """Leaves this process its standard streams, and what Python may have to load; whether the kernel enforces all of it."""
    for kind, most in (
        (resource.RLIMIT_CPU, request["cpu_seconds"]),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        resource.setrlimit(kind, (most, most))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (request["memory_bytes"], request["memory_bytes"]))
    _beside("capabilities").drop()
    files = _beside("landlock").confine([Path(folder) for folder in request["readable"]], [])
    return bool(_beside("seccomp").deny() and files)


def _beside(name: str) -> Any:
    """A module of this package without the package, which would import far more."""
    spec = importlib.util.spec_from_file_location(f"_{name}", Path(__file__).with_name(f"{name}.py"))
    if spec is None or spec.loader is None:
        raise ImportError(f"no {name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


class _Window(io.RawIOBase):
    """A part of the file, as h5py reads a file of its own: for weights that lie uncompressed in a zip."""

    def __init__(self, offset: int, length: int) -> None:
        self._file = os.fdopen(_STDIN, "rb", closefd=False)  # not what Python opened when a socket was there
        self._offset, self._length, self._at = offset, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._length}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        self._file.seek(self._offset + self._at)
        content = self._file.read(max(0, min(len(view), self._length - self._at)))
        view[: len(content)] = content
        self._at += len(content)
        return len(content)


class _Walk:
    def __init__(self, request: dict[str, Any]) -> None:
        self._bounds = request
        window = _Window(request["offset"], request["bytes"])
        self._file = h5py.File(window, "r")
        self._findings: list[tuple[str, str]] = []
        self._declared = 0

    def answer(self) -> dict[str, Any]:
        root = h5o.open(self._file.id, b"/")
        self._walk(root)
        if self._declared > self._bounds["unpacked_bytes"]:
            self._find("/", f"declares {self._declared} bytes of weights, more than {self._bounds['unpacked_bytes']}")
        found: dict[str, Any] = {"findings": self._findings[:_MOST_FINDINGS], "top": sorted(self._file)[:100]}
        if not self._findings:
            found["attributes"] = {name: self._attribute(root, name) for name in _READ if self._has(root, name)}
        return found

    def _walk(self, root: Any) -> None:
        """Every object once, without recursion: hard links may make cycles."""
        pending: list[tuple[str, Any]] = [("", root)]
        seen: set[Any] = set()
        links = 0
        while pending:
            where, item = pending.pop()
            address = h5o.get_info(item).addr
            is_new = address not in seen
            seen.add(address)
            if isinstance(item, h5d.DatasetID):
                self._dataset(where, item)
            if is_new:
                self._attributes(where, item)
            if not is_new or not isinstance(item, h5g.GroupID):
                if not isinstance(item, h5d.DatasetID | h5g.GroupID | h5t.TypeID):
                    self._find(where, "is an object of an unknown kind")
                continue
            for name, link in self._links(where, item):
                links += 1
                if links > self._bounds["objects"]:
                    return self._find(where or "/", f"is one of more than {self._bounds['objects']} objects")
                if link is not None:
                    pending.append((f"{where}/{name.decode('utf-8', 'replace')}", h5o.open(item, name)))
        return None

    def _links(self, where: str, group: Any) -> Iterator[tuple[bytes, Any]]:
        names: list[bytes] = []

        def keep(name: bytes) -> bool | None:
            names.append(name)
            return True if len(names) > self._bounds["objects"] else None

        group.links.iterate(keep)
        for name in names:
            info = group.links.get_info(name)
            place = f"{where}/{name.decode('utf-8', 'replace')}"
            match info.type:
                case h5l.TYPE_HARD:
                    yield name, info
                case h5l.TYPE_EXTERNAL:
                    file, target = group.links.get_val(name)
                    self._find(place, f"is a link to another file, {_text(file)!r} ({_text(target)!r})")
                case h5l.TYPE_SOFT:
                    self._find(place, f"is a link to {_text(group.links.get_val(name))!r}")
                case _:
                    self._find(place, "is a link of an unknown kind")

    def _dataset(self, where: str, dataset: Any) -> None:
        creation = dataset.get_create_plist()
        if creation.get_external_count() > 0:
            self._find(where, f"has its values in another file, {_text(creation.get_external(0)[0])!r}")
            return
        layout = creation.get_layout()
        if layout == h5d.VIRTUAL:
            self._find(where, "is a virtual dataset, which reads its values from other files")
            return
        for number in range(creation.get_nfilters()):
            if (code := creation.get_filter(number)[0]) not in _FILTERS:
                self._find(where, f"is packed by filter {code}, which is code that HDF5 would load")
                return
        declared, stored = _bytes_of(dataset.get_space(), dataset.get_type()), dataset.get_storage_size()
        self._declared += declared
        ratio = self._bounds["ratio"] if layout == h5d.CHUNKED and creation.get_nfilters() else 1
        if declared > _MIB and declared > ratio * max(stored, 1):
            self._find(where, f"declares {declared} bytes and stores {stored}")

    def _attributes(self, where: str, item: Any) -> None:
        if h5i.get_type(item) == h5i.DATATYPE:
            return
        for index in range(h5a.get_num_attrs(item)):
            attribute = h5a.open(item, index=index)
            size = _bytes_of(attribute.get_space(), attribute.get_type())
            if size > self._bounds["attribute_bytes"]:
                self._find(f"{where or '/'}@{_text(attribute.name)}", f"is an attribute that declares {size} bytes")

    def _has(self, root: Any, name: str) -> bool:
        return bool(h5a.exists(root, name.encode()))

    def _attribute(self, root: Any, name: str) -> str | None:
        value = (
            self._file.attrs[name]
            if h5a.open(root, name.encode()).get_space().get_simple_extent_npoints() == 1
            else None
        )
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        return value if isinstance(value, str) else None

    def _find(self, where: str, what: str) -> None:
        if len(self._findings) < _MOST_FINDINGS:
            self._findings.append((where[:300] or "/", what[:500]))


def _bytes_of(space: Any, kind: Any) -> int:
    """What a dataspace and type declare; a null dataspace declares nothing."""
    if space.get_simple_extent_type() == h5s.NULL:
        return 0
    points = 1
    for extent in space.get_simple_extent_dims():
        points *= extent  # in Python's integers: HDF5's own product may overflow
    return points * int(kind.get_size())


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")[:200]


if __name__ == "__main__":
    sys.exit(main())
