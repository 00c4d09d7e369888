"""Tar archives from strangers: read as one stream, checked whole before a byte is unpacked."""

import gzip
import io
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter import ExportError, ExportOptions, NotAModel, ScanBounds, ScanRefused, archive, scan

Change = Callable[[tarfile.TarInfo], None]


def entry(name: str, content: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def tarred(
    path: Path,
    *entries: tuple[tarfile.TarInfo, bytes],
    format_: int = tarfile.PAX_FORMAT,
    pax: dict[str, str] | None = None,
) -> Path:
    mode = "w:gz" if path.name.endswith("gz") else "w"
    with tarfile.open(path, mode, format=format_, pax_headers=pax) as made:  # type: ignore[call-overload]  # a chosen mode
        for info, content in entries:
            made.addfile(info, io.BytesIO(content))
    return path


def findings(path: Path, bounds: ScanBounds | None = None) -> list[str]:
    with pytest.raises(ScanRefused) as refused:
        archive.list_members(path, bounds or ScanBounds())
    assert refused.value.code == "unsafe_archive"
    return [finding.what for finding in refused.value.findings]


@pytest.mark.parametrize("name", ["m.tar.gz", "m.tgz", "m.tar"])
@pytest.mark.parametrize("format_", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_usual_dialect_is_read_long_names_and_all(tmp_path: Path, name: str, format_: int) -> None:
    long_name = "model/" + "/".join(["a" * 60] * 3) + "/variables.index"
    path = tarred(
        tmp_path / name, entry("./model", type=tarfile.DIRTYPE), entry("./model/saved_model.pb", b"graph"),
        entry(long_name, b"x" * 1000), format_=format_,
    )  # fmt: skip
    members = archive.list_members(path, ScanBounds())
    assert [(member.name, member.size) for member in members] == [("model/saved_model.pb", 5), (long_name, 1000)]
    assert archive.read_member(path, long_name, at_most=1000, bounds=ScanBounds()) == b"x" * 1000
    archive.extract(path, root="model/", into=tmp_path / "out", bounds=ScanBounds())
    assert (tmp_path / "out/saved_model.pb").read_bytes() == b"graph"


def test_a_member_that_is_not_there_is_none(tmp_path: Path) -> None:
    path = tarred(tmp_path / "m.tgz", entry("a", b"1"))
    assert archive.read_member(path, "b", at_most=10, bounds=ScanBounds()) is None


@pytest.mark.parametrize("name", ["/etc/cron.d/mark", "//mark", "C:/mark", "a\\..\\mark"])
def test_absolute_and_foreign_paths_are_refused(tmp_path: Path, name: str) -> None:
    assert "absolute" in findings(tarred(tmp_path / "m.tgz", entry(name, b"x")))[0]


@pytest.mark.parametrize("name", ["../mark", "a/../../mark", "./../mark", ".."])
def test_a_path_that_climbs_is_refused(tmp_path: Path, name: str) -> None:
    assert findings(tarred(tmp_path / "m.tgz", entry(name, b"x"))) == ["climbs out of its folder"]


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (tarfile.SYMTYPE, "is a link"),
        (tarfile.LNKTYPE, "is a hard link"),
        (tarfile.CHRTYPE, "is a device"),
        (tarfile.BLKTYPE, "is a device"),
        (tarfile.FIFOTYPE, "is a pipe"),
        (tarfile.GNUTYPE_SPARSE, "is a sparse file"),
        (b"Z", "is of the unknown kind b'Z'"),
    ],
)
def test_everything_but_files_and_folders_is_refused(tmp_path: Path, kind: bytes, what: str) -> None:
    path = tarred(tmp_path / "m.tgz", entry("a", type=kind, linkname="/etc/passwd"), format_=tarfile.GNU_FORMAT)
    assert findings(path) == [what]


def test_a_sparse_file_of_the_newer_form_is_refused(tmp_path: Path) -> None:
    info, content = entry("a", b"1")
    info.pax_headers = {"GNU.sparse.size": "1099511627776"}
    assert findings(tarred(tmp_path / "m.tgz", (info, content))) == ["is a sparse file"]


def test_one_path_for_all_members_is_refused(tmp_path: Path) -> None:
    assert findings(tarred(tmp_path / "m.tgz", entry("a", b"1"), pax={"path": "../mark"})) == [
        "has a path for all members"
    ]


def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    assert findings(tarred(tmp_path / "m.tgz", entry("a", b"1"), entry("./a", b"2"))) == ["is there twice"]


def test_a_file_in_what_is_a_file_is_refused(tmp_path: Path) -> None:
    assert findings(tarred(tmp_path / "m.tgz", entry("a", b"1"), entry("a/b", b"2"))) == ["lies in what is a file"]


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    assert findings(tarred(tmp_path / "m.tgz", entry("a\udcff", b"1"), format_=tarfile.USTAR_FORMAT)) == [
        "has a name that is no text"
    ]


def test_too_many_members_are_refused(tmp_path: Path) -> None:
    path = tarred(tmp_path / "m.tgz", *(entry(str(number)) for number in range(4)))
    assert findings(path, ScanBounds(members=3)) == ["has 4 members, more than 3"]


def test_a_bomb_is_not_inflated_further_than_the_ratio_allows(tmp_path: Path) -> None:
    bounds = ScanBounds(members=10)
    path = tarred(tmp_path / "m.tgz", entry("a", bytes(64 << 20)))
    assert path.stat().st_size < 100_000
    assert "inflates from" in findings(path, bounds)[0]


def test_members_that_are_too_large_together_are_refused(tmp_path: Path) -> None:
    path = tarred(tmp_path / "m.tar", entry("a", b"x" * 1500), entry("b", b"x" * 1500))
    assert "inflates to 3000 bytes, more than 2999" in findings(path, ScanBounds(unpacked_bytes=2999))[0]
    assert len(archive.list_members(path, ScanBounds(unpacked_bytes=3000))) == 2


def test_a_declared_size_that_is_not_there_is_damage_and_takes_no_memory(tmp_path: Path) -> None:
    info, _ = entry("a")
    info.size = 1 << 40
    path = tmp_path / "m.tar"
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + b"x" * 512)
    with pytest.raises(NotAModel, match="ends after 1024 bytes"):
        archive.list_members(path, ScanBounds(unpacked_bytes=1 << 50))


def test_an_extended_header_of_a_declared_gigabyte_is_refused_unread(tmp_path: Path) -> None:
    info, _ = entry("a", type=tarfile.XHDTYPE)
    info.size = 1 << 30
    path = tmp_path / "m.tar"
    path.write_bytes(info.tobuf(tarfile.USTAR_FORMAT))
    assert findings(path) == ["has a header of 1073741824 bytes"]


@pytest.mark.parametrize("cut", [1, 100, 600, 1300])
def test_an_archive_that_was_cut_short_is_named_as_damaged(tmp_path: Path, cut: int) -> None:
    whole = tarred(tmp_path / "m.tar", entry("a", bytes(range(256)) * 4)).read_bytes()
    for path, content in (
        (tmp_path / "c.tar", whole[:cut]),
        (tmp_path / "c.tgz", gzip.compress(whole)[: cut // 5 + 12]),
    ):
        path.write_bytes(content)
        with pytest.raises(NotAModel, match="damaged") as damaged:
            archive.list_members(path, ScanBounds())
        assert damaged.value.code == "truncated_archive"


_PART = st.text(
    st.characters(codec="utf-8", exclude_characters="/\\\0:", exclude_categories=["Cc"]), min_size=1, max_size=40
)
_NAME = st.lists(_PART.filter(lambda part: part not in (".", "..")), min_size=1, max_size=6).map("/".join)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    files=st.dictionaries(_NAME, st.binary(max_size=2000), min_size=1, max_size=5),
    format_=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_what_pythons_own_tarfile_wrote_is_read_as_it_reads_it(
    tmp_path: Path, files: dict[str, bytes], format_: int
) -> None:
    path = tarred(tmp_path / "m.tgz", *(entry(name, content) for name, content in files.items()), format_=format_)
    try:
        members = archive.list_members(path, ScanBounds())
    except ScanRefused as refused:
        assert {finding.what for finding in refused.findings} <= {
            "lies in what is a file", "has a longer name than a file may have", "has control characters in its name",
        }  # fmt: skip
        return
    with tarfile.open(path) as theirs:
        assert [(member.name, member.size) for member in members] == [(info.name, info.size) for info in theirs]
    for name, content in files.items():
        assert archive.read_member(path, name, at_most=2000, bounds=ScanBounds()) == content


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_tar_with_any_bytes_changed_stays_in_its_folder_or_is_refused_by_an_error_of_ours(
    tmp_path: Path, data: st.DataObject
) -> None:
    kind = data.draw(st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.XHDTYPE]))
    content = bytearray(
        tarred(
            tmp_path / "whole.tar", entry("f/" + "x" * 120, b"12 path=../x\n"), entry("g", b"abc", type=kind),
            format_=tarfile.PAX_FORMAT,
        ).read_bytes()
    )  # fmt: skip
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, 3000))] = data.draw(st.integers(0, 255))
    for block in range(0, 3000, 512):  # a header that was changed is a header again
        if data.draw(st.booleans()):
            header = content[block : block + 148] + b" " * 8 + content[block + 156 : block + 512]
            content[block + 148 : block + 156] = b"%06o\0 " % sum(header)
    path = tmp_path / "changed.tar"
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    (tmp_path / "around").mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=tmp_path / "around"))
    try:
        archive.extract(path, root="", into=folder / "out", bounds=ScanBounds())
    except ExportError as refused:
        assert refused.hint
    assert [each.name for each in folder.iterdir()] == ["out"]
    assert [each for each in folder.rglob("*") if each.is_symlink()] == []
    assert {each.name for each in tmp_path.iterdir()} == {"whole.tar", "changed.tar", "around"}


@pytest.mark.parametrize("name", ["../m.keras", "/opt/m.keras", "a/../../m.keras", "m.keras"])
def test_what_a_scan_keeps_on_the_way_is_in_its_own_directory_and_gone_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    path = tarred(tmp_path / "m.tgz", entry(name, b"mark"), entry("labels.txt", b"a\n"))
    with pytest.raises(ExportError):
        scan(path, ExportOptions())
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["m.tgz", "tmp"]


def test_the_last_of_two_members_of_a_name_is_not_read_either(tmp_path: Path) -> None:
    path = tarred(tmp_path / "m.tgz", entry("m.keras", b"first"), entry("m.keras", b"second"))
    with pytest.raises(ScanRefused, match=r"m\.keras: is there twice"):
        scan(path, ExportOptions())


def test_members_are_kept_under_numbers_and_as_they_are(tmp_path: Path) -> None:
    path = tarred(tmp_path / "m.tgz", entry("a", b"x" * 3000), entry("b", b"y"), entry("d/c", b"z"))
    (tmp_path / "kept").mkdir()
    keep = archive.Keep(tmp_path / "kept", lambda member: member.name != "b")
    assert [member.name for member in archive.list_members(path, ScanBounds(), keep)] == ["a", "b", "d/c"]
    assert {name: file.read_bytes() for name, file in keep.files.items()} == {"a": b"x" * 3000, "d/c": b"z"}
    assert {file.parent for file in keep.files.values()} == {tmp_path / "kept"}
