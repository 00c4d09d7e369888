"""Which files a push sends, under which names, in what order."""

from pathlib import Path

import pytest

from deployer.cli.drop import Drop, drop_of
from deployer.cli.errors import ExitCode, Usage
from deployer.names import DirectoryPart, ModelFile, part_of


def _file(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _blobs(drop: Drop) -> list[str]:
    return [file.blob for file in (*drop.sidecars, *drop.files)]


def test_a_file_is_sent_under_its_models_name(tmp_path: Path) -> None:
    drop = drop_of(_file(tmp_path / "Cats_v2.keras"), None)
    assert (drop.model, _blobs(drop)) == ("cats-v2", ["cats-v2.keras"])


def test_a_given_name_stands_for_the_files(tmp_path: Path) -> None:
    drop = drop_of(_file(tmp_path / "epoch 12 (best).keras"), "Lynx")
    assert (drop.model, _blobs(drop)) == ("lynx", ["lynx.keras"])


@pytest.mark.parametrize("suffix", [".h5", ".hdf5", ".zip", ".tar.gz", ".tgz"])
def test_the_whole_extension_is_kept(tmp_path: Path, suffix: str) -> None:
    assert _blobs(drop_of(_file(tmp_path / f"cats{suffix.upper()}"), "x")) == [f"x{suffix}"]


def test_what_lies_beside_a_model_goes_before_it_under_the_models_name(tmp_path: Path) -> None:
    for name in ("Cats_v2.labels.txt", "Cats_v2.yaml", "dogs.labels.txt", "Cats_v2.txt"):
        _file(tmp_path / name)
    drop = drop_of(_file(tmp_path / "Cats_v2.keras"), "lynx")
    assert _blobs(drop) == ["lynx.yaml", "lynx.labels.txt", "lynx.keras"]
    assert [file.path.name for file in drop.sidecars] == ["Cats_v2.yaml", "Cats_v2.labels.txt"]


def test_of_a_directory_saved_model_pb_goes_last(tmp_path: Path) -> None:
    root = tmp_path / "cats"
    for name in (
        "saved_model.pb",
        "variables/variables.index",
        "variables/variables.data-00000-of-00001",
        "assets/z.txt",
    ):
        _file(root / name)
    _file(tmp_path / "cats.labels.txt")
    drop = drop_of(root, None)
    assert drop.directory
    assert _blobs(drop) == [
        "cats.labels.txt",
        "cats/assets/z.txt",
        "cats/variables/variables.data-00000-of-00001",
        "cats/variables/variables.index",
        "cats/saved_model.pb",
    ]


def test_hidden_files_of_a_directory_stay(tmp_path: Path) -> None:
    _file(tmp_path / "cats" / "saved_model.pb")
    _file(tmp_path / "cats" / ".DS_Store")
    assert _blobs(drop_of(tmp_path / "cats", None)) == ["cats/saved_model.pb"]


def test_a_directory_given_as_a_dot_has_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _file(tmp_path / "Cats" / "saved_model.pb")
    monkeypatch.chdir(tmp_path / "Cats")
    assert drop_of(Path(), None).model == "cats"


def test_what_is_sent_is_what_the_deployer_takes_for_a_model(tmp_path: Path) -> None:
    _file(tmp_path / "My Cats" / "saved_model.pb")
    sent_file = drop_of(_file(tmp_path / "My.Cats.tar.gz"), None).last.blob
    assert part_of(sent_file) == ModelFile("my-cats", "my-cats", "my-cats.tar.gz")
    assert part_of(drop_of(tmp_path / "My Cats", None).last.blob) == DirectoryPart(
        "my-cats", "my-cats", "saved_model.pb"
    )


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("cats.pt", "unknown_extension"),
        ("cats", "unknown_extension"),
        ("cats.labels.txt", "not_a_model"),
        ("cats.yaml", "not_a_model"),
        ("кот.keras", "bad_name"),
        ("___.keras", "bad_name"),
        (f"{'c' * 41}.keras", "bad_name"),
    ],
)
def test_what_can_be_no_model_is_refused_before_anything_is_sent(tmp_path: Path, name: str, code: str) -> None:
    with pytest.raises(Usage) as refused:
        drop_of(_file(tmp_path / name), None)
    assert refused.value.code == code
    assert refused.value.hint
    assert refused.value.exit_code is ExitCode.USAGE


def test_a_path_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Usage, match="There is no file or folder"):
        drop_of(tmp_path / "cats.keras", None)


def test_a_folder_without_saved_model_pb_is_refused(tmp_path: Path) -> None:
    _file(tmp_path / "cats" / "1" / "saved_model.pb")
    with pytest.raises(Usage, match=r"holds no saved_model\.pb"):
        drop_of(tmp_path / "cats", None)


def test_a_given_name_that_can_be_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Usage, match="cannot become a model name"):
        drop_of(_file(tmp_path / "cats.keras"), "-!-")
