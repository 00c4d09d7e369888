"""Nothing in a zip file leaves its folder, follows a link or fills the disk."""

import stat
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter import ExportError, NotAModel, ScanBounds, ScanRefused, archive


def zipped(path: Path, name: str, content: bytes = b"x", *, mode: int = stat.S_IFREG | 0o644) -> Path:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(path, "w") as made:
        made.writestr(info, content)
    return path


def findings(path: Path, bounds: ScanBounds | None = None) -> list[str]:
    with pytest.raises(ScanRefused) as refused:
        archive.list_members(path, bounds or ScanBounds())
    assert refused.value.code == "unsafe_archive"
    return [finding.what for finding in refused.value.findings]


@pytest.mark.parametrize("name", ["/etc/cron.d/mark", "C:/mark", "a\\..\\mark"])
def test_absolute_and_foreign_paths_are_refused(tmp_path: Path, name: str) -> None:
    assert "absolute" in findings(zipped(tmp_path / "m.zip", name))[0]


@pytest.mark.parametrize("name", ["../mark", "a/../../mark", ".."])
def test_a_path_that_climbs_is_refused(tmp_path: Path, name: str) -> None:
    assert findings(zipped(tmp_path / "m.zip", name)) == ["climbs out of its folder"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFBLK])
def test_links_and_special_files_are_refused(tmp_path: Path, kind: int) -> None:
    assert findings(zipped(tmp_path / "m.zip", "a", mode=kind | 0o777)) == ["is a link or a special file"]


def test_a_member_that_inflates_beyond_all_measure_is_refused(tmp_path: Path) -> None:
    assert "inflates from" in findings(zipped(tmp_path / "m.zip", "a", bytes(8 << 20)))[0]


def test_members_that_are_too_large_together_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "m.zip", "a", bytes(range(256)) * 8)
    assert findings(path, ScanBounds(unpacked_bytes=2047)) == ["inflates to 2048 bytes, more than 2047"]
    assert [member.name for member in archive.list_members(path, ScanBounds(unpacked_bytes=2048))] == ["a"]


def test_too_many_members_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as made:
        for number in range(4):
            made.writestr(str(number), b"")
    assert findings(tmp_path / "m.zip", ScanBounds(members=3)) == ["has 4 members, more than 3"]


def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as made:
        made.writestr("a", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            made.writestr("a", b"2")
    assert findings(tmp_path / "m.zip") == ["is there twice"]


def test_a_damaged_member_is_named_as_damage(tmp_path: Path) -> None:
    path = zipped(tmp_path / "m.zip", "a", bytes(range(256)) * 64)
    content = bytearray(path.read_bytes())
    content[60] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(NotAModel, match="damaged"):
        archive.read_member(path, "a", at_most=1 << 20, bounds=ScanBounds())


def test_extraction_writes_what_lies_below_the_root_and_nothing_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as made:
        made.writestr("model/saved_model.pb", b"graph")
        made.writestr("model/variables/variables.index", b"index")
        made.writestr("readme.txt", b"no")
    archive.extract(tmp_path / "m.zip", root="model/", into=tmp_path / "out", bounds=ScanBounds())
    found = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert found == {"saved_model.pb", "variables/variables.index"}
    assert (tmp_path / "out/saved_model.pb").read_bytes() == b"graph"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_zip_with_any_bytes_changed_or_cut_off_is_read_or_refused_by_an_error_of_ours(
    tmp_path: Path, data: st.DataObject
) -> None:
    content = bytearray(zipped(tmp_path / "whole.zip", "folder/a", bytes(range(256)) * 4).read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "changed.zip"
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    try:
        members = archive.list_members(path, ScanBounds())
        for member in members:
            archive.read_member(path, member.name, at_most=1 << 20, bounds=ScanBounds())
    except ExportError as refused:
        assert refused.hint
