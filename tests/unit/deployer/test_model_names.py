"""Names of blobs mean models; a model's NAME is a DNS label of at most 40 characters, or is refused."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.errors import UploadRefused
from deployer.names import DirectoryPart, ModelFile, Part, Sidecar, model_name, part_of, version_object

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")  # RFC 1123, as Kubernetes has it


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("cats", "cats"),
        ("Cats_v2", "cats-v2"),
        ("my model.final", "my-model-final"),
        ("--cats--", "cats"),
        ("a__b..c  d", "a-b-c-d"),
        ("2024", "2024"),
        ("x" * 40, "x" * 40),
    ],
)
def test_a_name_is_made_of_what_the_file_is_called(stem: str, name: str) -> None:
    assert model_name(stem) == name


@pytest.mark.parametrize("stem", ["", "-", "_._", "katzen-größe", "猫", "a" * 41, "cats!", "a/b", "cats\n", "ﬁsh", "İ"])
def test_what_cannot_become_a_dns_label_is_refused_by_name(stem: str) -> None:
    with pytest.raises(UploadRefused) as refused:
        model_name(stem)
    assert (refused.value.code, refused.value.stage) == ("bad_name", "name")
    assert f"'{stem}'" in refused.value.message and refused.value.hint


@given(st.text(max_size=60) | st.text(alphabet="abAB09-_. ", max_size=60))
def test_a_name_is_always_a_short_dns_label_or_refused(stem: str) -> None:
    try:
        name = model_name(stem)
    except UploadRefused:
        return
    assert DNS_LABEL.fullmatch(name) and len(name) <= 40
    assert model_name(name) == name
    assert len(version_object(name, 10**12)) <= 63


@pytest.mark.parametrize(
    ("blob", "part"),
    [
        ("cats.keras", ModelFile("cats", "cats", "cats.keras")),
        ("Cats_v2.KERAS", ModelFile("cats-v2", "Cats_v2", "Cats_v2.KERAS")),
        ("cats.h5", ModelFile("cats", "cats", "cats.h5")),
        ("cats.hdf5", ModelFile("cats", "cats", "cats.hdf5")),
        ("cats.zip", ModelFile("cats", "cats", "cats.zip")),
        ("cats.tgz", ModelFile("cats", "cats", "cats.tgz")),
        ("cats.v2.tar.gz", ModelFile("cats-v2", "cats.v2", "cats.v2.tar.gz")),
        ("cats.yaml", Sidecar("cats", "cats", "cats.yaml")),
        ("cats.labels.txt", Sidecar("cats", "cats", "cats.labels.txt")),
        ("cats/saved_model.pb", DirectoryPart("cats", "cats", "saved_model.pb")),
        ("cats/assets/words.zip", DirectoryPart("cats", "cats", "assets/words.zip")),
        ("cats/slipway.yaml", DirectoryPart("cats", "cats", "slipway.yaml")),
    ],
)
def test_a_blob_is_a_model_or_a_part_of_one_by_its_name(blob: str, part: Part) -> None:
    assert part_of(blob) == part


@pytest.mark.parametrize(
    ("blob", "code", "told"),
    [
        ("notes.docx", "unknown_extension", ".docx"),
        ("README", "unknown_extension", "no extension"),
        ("labels.txt", "unknown_extension", ".txt"),
        ("folder/cats.keras", "nested_file", "as 'cats.keras'"),
        ("größe.keras", "bad_name", "größe"),
    ],
)
def test_other_blobs_are_refused_with_what_to_do(blob: str, code: str, told: str) -> None:
    with pytest.raises(UploadRefused) as refused:
        part_of(blob)
    assert refused.value.code == code
    assert told in f"{refused.value.message} {refused.value.hint}"


@given(st.text(max_size=80))
def test_any_blob_name_is_understood_or_refused(blob: str) -> None:
    try:
        part = part_of(blob)
    except UploadRefused as refused:
        assert refused.hint
    else:
        assert blob.startswith(part.stem)
