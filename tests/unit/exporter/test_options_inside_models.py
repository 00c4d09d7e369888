"""``slipway.yaml`` is found in a model's directory or archive, and nowhere else."""

import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter import BadOptions, NotAModel, ScanBounds, ScanRefused, options_inside

Pack = Callable[[Path, dict[str, bytes]], Path]
GRAPH = {"saved_model.pb": b"graph"}
OPTIONS = {"slipway.yaml": b"top: 3\n"}


def as_directory(folder: Path, files: dict[str, bytes]) -> Path:
    root = folder / "m"
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def as_zip(folder: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(folder / "m.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return folder / "m.zip"


def as_tar(folder: Path, files: dict[str, bytes]) -> Path:
    root = as_directory(folder, files)
    with tarfile.open(folder / "m.tar.gz", "w:gz") as archive:
        archive.add(root, arcname="m")
    return folder / "m.tar.gz"


@pytest.mark.parametrize("pack", [as_directory, as_zip, as_tar])
def test_options_beside_a_saved_model_are_found(tmp_path: Path, pack: Pack) -> None:
    assert options_inside(pack(tmp_path, GRAPH | OPTIONS)) == "top: 3\n"


@pytest.mark.parametrize("pack", [as_directory, as_zip, as_tar])
def test_there_need_be_none(tmp_path: Path, pack: Pack) -> None:
    assert options_inside(pack(tmp_path, GRAPH)) is None


def test_those_of_the_models_own_folder_count(tmp_path: Path) -> None:
    files = {"deep/saved_model.pb": b"graph", "deep/slipway.yaml": b"top: 1\n", **OPTIONS}
    assert options_inside(as_zip(tmp_path, files)) == "top: 1\n"


def test_a_link_out_of_the_directory_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    directory = as_directory(tmp_path, GRAPH)
    (directory / "slipway.yaml").symlink_to(tmp_path / "secret")
    assert options_inside(directory) is None


@pytest.mark.parametrize("pack", [as_directory, as_zip])
def test_what_is_no_text_or_too_large_is_refused(tmp_path: Path, pack: Pack) -> None:
    with pytest.raises(BadOptions, match=r"no UTF-8 text: .* at byte 0"):
        options_inside(pack(tmp_path, GRAPH | {"slipway.yaml": b"\xff\xfe"}))
    with pytest.raises(ScanRefused, match="larger than 4 bytes"):
        options_inside(pack(tmp_path, GRAPH | OPTIONS), ScanBounds(labels_bytes=4))


def test_what_is_no_model_has_no_options(tmp_path: Path) -> None:
    with pytest.raises(NotAModel):
        options_inside(tmp_path / "nothing")
