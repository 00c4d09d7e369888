"""Which blobs make one upload: files, directories, what lies beside them, and what is still missing."""

from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.ports import BlobRef
from deployer.resolution import resolve

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def blob(name: str, *, second: int = 0, etag: str = "1") -> BlobRef:
    return BlobRef(name, etag, 10, NOON + timedelta(seconds=second))


def test_a_file_and_what_lies_beside_it() -> None:
    upload = resolve("cats", [blob("cats.keras"), blob("cats.labels.txt"), blob("cats.yaml")])
    assert upload is not None
    assert (upload.model, upload.primary.name, upload.directory) == ("cats", "cats.keras", False)
    assert [item.name for item in upload.blobs] == ["cats.keras"]
    assert [item.name for item in upload.sidecars] == ["cats.labels.txt", "cats.yaml"]


def test_others_whose_names_begin_so_do_not_belong_to_it() -> None:
    listed = [blob("cats.keras"), blob("cats-v2.keras"), blob("cats2.yaml"), blob("cats.docx"), blob("cats2/a")]
    upload = resolve("cats", listed)
    assert upload is not None and (upload.blobs, upload.sidecars) == ((listed[0],), ())


@pytest.mark.parametrize("listed", [[], ["cats.yaml"], ["cats.labels.txt", "cats.docx"]])
def test_without_a_model_there_is_no_upload(listed: list[str]) -> None:
    assert resolve("cats", map(blob, listed)) is None


def test_of_several_files_the_newest_is_meant() -> None:
    upload = resolve("cats", [blob("cats.keras", second=1), blob("cats.zip", second=3), blob("cats.h5", second=2)])
    assert upload is not None and upload.primary.name == "cats.zip"


@pytest.mark.parametrize(("file", "part", "meant"), [(1, 2, "cats/saved_model.pb"), (2, 1, "cats.keras")])
def test_of_a_file_and_a_directory_the_newer_is_meant(file: int, part: int, meant: str) -> None:
    upload = resolve("cats", [blob("cats.keras", second=file), blob("cats/saved_model.pb", second=part)])
    assert upload is not None and upload.primary.name == meant


def test_a_directory_is_known_by_its_saved_model_and_paths_lie_below_it() -> None:
    upload = resolve("Cats", [blob("Cats/variables/variables.index", second=9), blob("Cats/saved_model.pb")])
    assert upload is not None
    assert (upload.model, upload.primary.name) == ("cats", "Cats/saved_model.pb")
    assert {upload.path_of(item) for item in upload.blobs} == {
        PurePosixPath("saved_model.pb"), PurePosixPath("variables/variables.index")
    }  # fmt: skip


def test_a_fingerprint_follows_content_and_sidecars_and_no_order() -> None:
    model, labels = blob("cats.keras"), blob("cats.labels.txt")
    prints = [
        resolve("cats", listed)
        for listed in (
            [model, labels], [labels, model], [model], [blob("cats.keras", etag="2"), labels],
            [model, blob("cats.labels.txt", etag="2")],
        )
    ]  # fmt: skip
    found = [upload.fingerprint for upload in prints if upload]
    assert found[0] == found[1]
    assert len(set(found)) == 4


@given(st.lists(st.text(max_size=12).map(lambda path: f"cats/{path}") | st.text(max_size=12), max_size=6))
def test_whatever_lies_there_is_resolved_without_a_failure(names: list[str]) -> None:
    upload = resolve("cats", map(blob, names))
    if upload is not None:
        assert upload.primary in upload.blobs
