"""HDF5 files are looked through in a process of their own before anything reads a value from them."""

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter import (
    ExportError,
    ExportOptions,
    NotAModel,
    ScanBounds,
    ScanRefused,
    Unsupported,
    hdf5_scan,
    hdf5_walk,
    scan,
)
from exporter.keras_scan import Loader

SECRET = b"0123456789abcdef"
CONFIG = {
    "class_name": "Sequential",
    "config": {"name": "m", "layers": [{"class_name": "Dense", "config": {"units": 1}}]},
}

Build = Callable[[h5py.File], object]


def written(path: Path, *builds: Build) -> Path:
    with h5py.File(path, "w") as file:
        for build in builds:
            build(file)
    return path


def model(file: h5py.File, version: str | None = "2.15.0", config: object = CONFIG) -> None:
    file.attrs["model_config"] = json.dumps(config)
    if version is not None:
        file.attrs["keras_version"] = version
    file.create_group("model_weights/dense").create_dataset("kernel", data=np.zeros((4, 3), "float32"))


def findings(path: Path, bounds: ScanBounds | None = None) -> list[tuple[str, str]]:
    with pytest.raises(ScanRefused) as refused:
        hdf5_scan.check(path, name="m.h5", bounds=bounds or ScanBounds())
    assert refused.value.code == "unsafe_hdf5"
    return [(finding.where, finding.what) for finding in refused.value.findings]


def test_a_model_passes_and_says_what_wrote_it(tmp_path: Path) -> None:
    found = hdf5_scan.check(written(tmp_path / "m.h5", model), name="m.h5", bounds=ScanBounds())
    assert found.attributes["keras_version"] == "2.15.0"
    assert json.loads(found.attributes["model_config"] or "") == CONFIG
    assert found.top == ("model_weights",)


@pytest.mark.parametrize(
    ("version", "loader"),
    [("3.15.1", Loader.KERAS_3), ("2.15.0", Loader.KERAS_2), ("2.4.0-tf", Loader.KERAS_2), (None, Loader.KERAS_2)],
)
@pytest.mark.parametrize("suffix", [".h5", ".hdf5"])
def test_the_version_decides_what_loads_a_file(
    tmp_path: Path, version: str | None, loader: Loader, suffix: str
) -> None:
    path = written(tmp_path / f"m{suffix}", lambda file: model(file, version))
    assert scan(path, ExportOptions()).loader is loader


def test_weights_alone_are_named_as_that(tmp_path: Path) -> None:
    path = written(tmp_path / "m.weights.h5", lambda file: file.create_dataset("layers/dense/vars/0", data=[1.0]))
    with pytest.raises(Unsupported, match="weights without a model") as refused:
        scan(path, ExportOptions())
    assert refused.value.code == "weights_only"
    assert "model.save" in refused.value.hint


def external_storage(file: h5py.File) -> None:
    file.create_dataset("w", shape=(16,), dtype="u1", external=[(str(Path(file.filename).with_name("secret")), 0, 16)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout(shape=(16,), dtype="u1")
    layout[:] = h5py.VirtualSource(str(Path(file.filename).with_name("secret.h5")), "s", shape=(16,))
    file.create_virtual_dataset("w", layout)


def external_link(file: h5py.File) -> None:
    file["w"] = h5py.ExternalLink(str(Path(file.filename).with_name("secret.h5")), "/s")


def soft_link(file: h5py.File) -> None:
    file["w"] = h5py.SoftLink("/model_weights/dense/kernel")


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (external_storage, "has its values in another file"),
        (virtual, "is a virtual dataset"),
        (external_link, "is a link to another file"),
    ],
)
def test_what_reads_other_files_is_refused_and_would_have_read_them(tmp_path: Path, build: Build, says: str) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    written(tmp_path / "secret.h5", lambda file: file.create_dataset("s", data=np.frombuffer(SECRET, "u1")))
    path = written(tmp_path / "m.h5", model, build)
    with h5py.File(path) as file:
        assert file["w"][...].tobytes() == SECRET
    ((where, what),) = findings(path)
    assert (where, says in what) == ("m.h5:/w", True)


def test_a_soft_link_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "m.h5", model, soft_link)
    assert findings(path) == [("m.h5:/w", "is a link to '/model_weights/dense/kernel'")]


def test_a_dataset_that_declares_far_more_than_the_file_holds_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "m.h5", lambda file: file.create_dataset("a/w", shape=(1 << 20, 1 << 20), dtype="f4"))
    assert path.stat().st_size < 10_000
    assert findings(path)[0] == ("m.h5:/a/w", f"declares {4 << 40} bytes and stores 0")


def test_a_compressed_bomb_is_refused_and_ordinary_compression_is_not(tmp_path: Path) -> None:
    bomb = written(
        tmp_path / "b.h5", lambda file: file.create_dataset("w", data=np.zeros(1 << 24, "u1"), compression=9)
    )
    assert "declares 16777216 bytes and stores" in findings(bomb)[0][1]
    noise = np.random.default_rng(1).normal(size=1 << 18).astype("f4")
    path = written(tmp_path / "m.h5", lambda file: file.create_dataset("w", data=noise, compression=4, shuffle=True))
    assert hdf5_scan.check(path, name="m.h5", bounds=ScanBounds()).top == ("w",)


def test_one_dataset_under_many_names_counts_each_time(tmp_path: Path) -> None:
    def build(file: h5py.File) -> None:
        weights = file.create_dataset("w", data=np.zeros(1000, "f4"))
        for number in range(20):
            file[f"again/{number}"] = weights

    assert findings(written(tmp_path / "m.h5", build), ScanBounds(unpacked_bytes=50_000)) == [
        ("m.h5:/", "declares 84000 bytes of weights, more than 50000")
    ]


def test_a_filter_that_hdf5_would_load_as_a_plugin_is_refused(tmp_path: Path) -> None:
    def build(file: h5py.File) -> None:
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_chunk((4,))
        creation.set_filter(32013, h5py.h5z.FLAG_OPTIONAL, (1,))
        h5py.h5d.create(file.id, b"w", h5py.h5t.NATIVE_FLOAT, h5py.h5s.create_simple((4,)), creation)

    ((where, what),) = findings(written(tmp_path / "m.h5", build))
    assert (where, what) == ("m.h5:/w", "is packed by filter 32013, which is code that HDF5 would load")


def test_groups_in_a_circle_end(tmp_path: Path) -> None:
    def build(file: h5py.File) -> None:
        group = file.create_group("a/b")
        group["up"] = file["a"]

    assert hdf5_scan.check(written(tmp_path / "m.h5", build), name="m.h5", bounds=ScanBounds()).top == ("a",)


def test_an_attribute_beyond_all_measure_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "m.h5", model)
    assert findings(path, ScanBounds(config_bytes=4))[0][0] == "m.h5:/@keras_version"


@pytest.mark.parametrize("stored", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_weights_in_a_keras_file_are_looked_through_as_well(tmp_path: Path, stored: int) -> None:
    weights = written(tmp_path / "w.h5", external_storage).read_bytes()
    with zipfile.ZipFile(tmp_path / "m.keras", "w", stored) as archive:
        archive.writestr(
            "config.json", json.dumps({"module": "keras", "class_name": "Sequential", "config": {"layers": []}})
        )
        archive.writestr("model.weights.h5", weights)
    with pytest.raises(ScanRefused) as refused:
        scan(tmp_path / "m.keras", ExportOptions())
    assert refused.value.findings[0].where == "m.keras!model.weights.h5:/w"


def test_a_keras_file_without_weights_is_no_model(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr(
            "config.json", json.dumps({"module": "keras", "class_name": "Sequential", "config": {"layers": []}})
        )
    with pytest.raises(NotAModel, match="no weights") as refused:
        scan(tmp_path / "m.keras", ExportOptions())
    assert refused.value.code == "no_weights"


@pytest.mark.parametrize("cut", [9, 100, 800, 2000])
def test_a_file_that_was_cut_short_is_named_as_damaged(tmp_path: Path, cut: int) -> None:
    whole = written(tmp_path / "m.h5", model).read_bytes()
    (tmp_path / "c.h5").write_bytes(whole[:cut])
    with pytest.raises(NotAModel, match="damaged") as damaged:
        scan(tmp_path / "c.h5", ExportOptions())
    assert damaged.value.code == "truncated_hdf5"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_file_with_any_bytes_changed_is_read_or_refused_by_an_error_of_ours(
    tmp_path: Path, data: st.DataObject
) -> None:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        model(file)
        file.create_dataset("w", data=np.zeros((64, 8), "f4"), chunks=(8, 8), compression=1)
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 12))):
        content[data.draw(st.integers(8, len(content) - 1))] = data.draw(st.sampled_from([0, 1, 2, 4, 127, 128, 255]))
    (tmp_path / "f.h5").write_bytes(content)
    try:
        scan(tmp_path / "f.h5", ExportOptions())
    except ExportError as refused:
        assert refused.hint


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels do not confine")
def test_who_reads_the_bytes_has_given_up_files_network_and_processes_before(tmp_path: Path) -> None:
    secret, own = tmp_path / "secret", Path(hdf5_walk.__file__)
    secret.write_bytes(SECRET)
    program = f"""
import json, os, socket, sys
from pathlib import Path
sys.path.insert(0, {str(own.parents[1])!r})
from exporter import hdf5_walk
confined = hdf5_walk.confine({{"cpu_seconds": 30, "memory_bytes": 2 << 30, "readable": [{str(own.parent)!r}]}})
outcomes = {{"all": confined}}
for name, attempt in {{
    "read a file": lambda: Path({str(secret)!r}).read_bytes(),
    "write a file": lambda: Path({str(tmp_path / "mark")!r}).write_bytes(b"mark"),
    "open a connection": lambda: socket.socket(),
    "start a process": lambda: os.fork() or os._exit(0),
    "read what it may": lambda: Path({str(own)!r}).read_bytes(),
    "read its input": lambda: sys.stdin.buffer.read(),
}}.items():
    try:
        attempt()
        outcomes[name] = "done"
    except PermissionError:
        outcomes[name] = "denied"
print(json.dumps(outcomes))
"""
    with secret.open("rb") as given:
        done = subprocess.run(
            [sys.executable, "-c", program], stdin=given, capture_output=True, timeout=60, check=True, text=True
        )
    outcomes = json.loads(done.stdout)
    if not outcomes.pop("all"):
        pytest.skip(f"this kernel lets a process give up only so much: {outcomes}")
    assert outcomes == {
        "read a file": "denied",
        "write a file": "denied",
        "open a connection": "denied",
        "start a process": "denied",
        "read what it may": "done",
        "read its input": "done",
    }
    assert not (tmp_path / "mark").exists()
