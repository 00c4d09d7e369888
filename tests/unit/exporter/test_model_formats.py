"""What a file is: by content first and name second, with an answer for everything that is not converted."""

import tarfile
import zipfile
from pathlib import Path

import pytest

from exporter import ExportError, NotAModel, Packaging, ScanBounds, Source, SourceFormat, Unsupported
from exporter.formats import recognise


def zipped(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return path


def error(path: Path) -> ExportError:
    with pytest.raises(ExportError) as raised:
        recognise(path, ScanBounds())
    assert path.name in raised.value.message
    assert raised.value.hint
    assert raised.value.permanent
    return raised.value


def test_a_keras_file_is_a_zip_with_a_configuration(tmp_path: Path) -> None:
    path = zipped(tmp_path / "m.keras", "config.json", "metadata.json", "model.weights.h5")
    assert recognise(path, ScanBounds()) == Source(path, SourceFormat.KERAS, Packaging.FILE)


@pytest.mark.parametrize(("member", "root"), [("saved_model.pb", ""), ("model/saved_model.pb", "model/")])
def test_a_zip_may_hold_a_saved_model_at_its_top_or_one_folder_down(tmp_path: Path, member: str, root: str) -> None:
    path = zipped(tmp_path / "m.zip", member)
    assert recognise(path, ScanBounds()) == Source(path, SourceFormat.SAVED_MODEL, Packaging.ZIP, root)


@pytest.mark.parametrize("name", ["m.tar.gz", "m.tgz"])
@pytest.mark.parametrize(
    ("member", "kind", "root"),
    [
        ("saved_model.pb", SourceFormat.SAVED_MODEL, ""),
        ("./model/saved_model.pb", SourceFormat.SAVED_MODEL, "model/"),
        ("digits.keras", SourceFormat.KERAS, "digits.keras"),
        ("model/digits.h5", SourceFormat.HDF5, "model/digits.h5"),
    ],
)
def test_a_tar_may_hold_a_model_at_its_top_or_one_folder_down(
    tmp_path: Path, name: str, member: str, kind: SourceFormat, root: str
) -> None:
    with tarfile.open(tmp_path / name, "w:gz") as made:
        made.addfile(tarfile.TarInfo(member))
        made.addfile(tarfile.TarInfo("._" + member.rsplit("/", 1)[-1]))  # as macOS adds
    assert recognise(tmp_path / name, ScanBounds()) == Source(tmp_path / name, kind, Packaging.TAR, root)


@pytest.mark.parametrize(
    ("member", "kind"), [("digits.keras", SourceFormat.KERAS), ("model/digits.hdf5", SourceFormat.HDF5)]
)
def test_a_zip_may_hold_a_keras_file(tmp_path: Path, member: str, kind: SourceFormat) -> None:
    path = zipped(tmp_path / "m.zip", member, "labels.txt", "__MACOSX/._digits.keras")
    assert recognise(path, ScanBounds()) == Source(path, kind, Packaging.ZIP, member)


@pytest.mark.parametrize("name", ["m.h5", "m.hdf5", "m.H5", "m.keras"])
def test_an_hdf5_file_is_known_by_its_content(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x89HDF\r\n\x1a\n....")
    found = recognise(tmp_path / name, ScanBounds())
    assert found == Source(tmp_path / name, SourceFormat.HDF5, Packaging.FILE)
    assert found.format.family == "keras"


@pytest.mark.parametrize(
    "members", [["default/_CHECKPOINT_METADATA"], ["checkpoint", "ckpt-1.index"], ["group1.json/model.json"]]
)
def test_a_directory_of_another_kind_is_named_for_what_it_is(tmp_path: Path, members: list[str]) -> None:
    for member in members:
        (tmp_path / member).parent.mkdir(exist_ok=True)
        (tmp_path / member).write_bytes(b"x")
    assert isinstance(error(tmp_path), Unsupported)


def test_a_directory_is_a_saved_model_by_its_graph(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"")
    assert recognise(tmp_path, ScanBounds()) == Source(tmp_path, SourceFormat.SAVED_MODEL, Packaging.DIRECTORY)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("m.bin", b"\x89HDF\r\n\x1a\n....", "HDF5"),
        ("m.gguf", b"GGUF\x03\x00\x00\x00", "GGUF"),
        ("m.msgpack", b"\x83\xa6", "Flax"),
        ("m.mlmodel", b"\x08\x01", "Core ML"),
        ("m.index", b"\x00\x00", "TensorFlow checkpoint"),
        ("m.json", b"{}", "architecture without its weights"),
        ("m.tflite", b"\x1c\x00\x00\x00TFL3", "TensorFlow Lite"),
        ("m.pkl", b"\x80\x04\x95", "pickle"),
        ("m.pt", b"anything", "PyTorch"),
        ("m.onnx", b"\x08\x07\x12\x07", "ONNX"),
        ("m.safetensors", b"\x10\x00\x00\x00\x00\x00\x00\x00{}", "weights without a model"),
        ("saved_model.pb", b"\x08\x01\x12", "one file of a SavedModel"),
    ],
)
def test_other_kinds_of_model_are_named_for_what_they_are(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    refused = error(tmp_path / name)
    assert isinstance(refused, Unsupported)
    assert says in refused.message


@pytest.mark.parametrize(
    ("name", "members", "says"),
    [
        ("m.pt", ["archive/data.pkl", "archive/version"], "PyTorch"),
        ("m.zip", ["config.json", "model.weights.h5"], "another name"),
        ("m.zip", ["digits.keras", "cats.h5"], "more than one"),
        ("m.zip", ["model/digits.keras", "saved_model.pb2", "cats/saved_model.pb"], "more than one"),
        ("m.zip", ["default/_CHECKPOINT_METADATA", "default/manifest.ocdbt"], "Orbax"),
        ("m.zip", ["model.json", "group1-shard1of1.bin"], "TensorFlow.js"),
        ("m.npz", ["kernel.npy"], "weights without a model"),
        ("m.zip", ["model/model.onnx"], "ONNX"),
        ("m.zip", ["checkpoint", "model.ckpt-1.index"], "TensorFlow checkpoint"),
        ("m.zip", ["a/saved_model.pb", "b/saved_model.pb"], "more than one"),
    ],
)
def test_archives_of_other_things_are_named_too(tmp_path: Path, name: str, members: list[str], says: str) -> None:
    refused = error(zipped(tmp_path / name, *members))
    assert isinstance(refused, Unsupported)
    assert says in refused.message


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("m.keras", b"", "empty"),
        ("m.keras", b"hello", "not_a_model"),
        ("m.zip", b"hello", "not_a_model"),
        ("m.txt", b"hello", "unknown_extension"),
        ("model", b"hello", "unknown_extension"),
        ("m.keras", b"PK\x03\x04 and then nothing", "truncated_archive"),
    ],
)
def test_what_is_no_model_is_told_apart(tmp_path: Path, name: str, content: bytes, code: str) -> None:
    (tmp_path / name).write_bytes(content)
    refused = error(tmp_path / name)
    assert isinstance(refused, NotAModel)
    assert refused.code == code


@pytest.mark.parametrize(
    ("name", "members", "code"),
    [
        ("m.keras", ["readme.txt"], "no_model_inside"),
        ("m.zip", [], "no_model_inside"),
        ("m.zip", ["deep/er/saved_model.pb"], "no_model_inside"),
        ("m.docx", ["word/document.xml"], "unknown_extension"),
    ],
)
def test_archives_without_a_model_are_told_apart(tmp_path: Path, name: str, members: list[str], code: str) -> None:
    refused = error(zipped(tmp_path / name, *members))
    assert isinstance(refused, NotAModel)
    assert refused.code == code


def test_a_directory_without_a_graph_is_no_model(tmp_path: Path) -> None:
    assert error(tmp_path).code == "no_model_inside"


def test_a_file_that_is_not_there_is_no_model(tmp_path: Path) -> None:
    assert error(tmp_path / "m.keras").code == "missing"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    target = zipped(tmp_path / "m.keras", "config.json")
    (tmp_path / "link.keras").symlink_to(target)
    assert error(tmp_path / "link.keras").code == "missing"
