"""A SavedModel directory is complete when its own contents say so, whatever the order of its files."""

import base64
from datetime import UTC, datetime
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.completeness import Lacking, lacking, mixed
from deployer.ports import BlobRef
from deployer.resolution import resolve
from exporter import saved_model_proto, tensor_bundle
from tests.unit.deployer.bundles import bundle_index, saved_model

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
PB, INDEX, DATA = "saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"
# As TensorFlow 2.21 wrote it for a module of two variables of 50 x 50.
REAL_INDEX = base64.b64decode(
    "AAAGCAEaAggBABwQX0NIRUNLUE9JTlRBQkxFX09CSkVDVF9HUkFQSAgHEgAgoJwBKP4BNQoJqc8AHhR2LzAvLkFUVFJJQlVURVMv"
    "VkFSSUFCTEVfVkFMVUUIARIIEgIIMhICCDIokE41mmhjTAIcFzEvLkFUVFJJQlVURVMvVkFSSUFCTEVfVkFMVUUIARIIEgIIMhIC"
    "CDIgkE4okE41USc9tQAAAAABAAAAAGi6TD0AAAAAAQAAAADA8qGwAAEDdwCrAQAAAAABAAAAAIbmPKSwAQi9AQ8AAAAAAAAAAAAA"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAV/uAiyR1R9s="
)
WHOLE = {
    PB: saved_model(assets=("words.txt",), variables=True),
    INDEX: bundle_index({0: 10, 1: 300}),
    "variables/variables.data-00000-of-00002": b"x" * 10,
    "variables/variables.data-00001-of-00002": b"x" * 300,
    "assets/words.txt": b"a",
    "fingerprint.pb": b"f",
}


def lacks(files: dict[str, bytes], *, sizes: dict[str, int] | None = None) -> Lacking | None:
    """What a directory of these files lacks; ``sizes`` stands for files too large to be made."""
    all_sizes = {name: len(content) for name, content in files.items()} | (sizes or {})
    upload = resolve("cats", [BlobRef(f"cats/{name}", "1", size, NOON) for name, size in all_sizes.items()])
    assert upload is not None
    return lacking(upload, lambda blob: files[blob.name.removeprefix("cats/")])


def test_a_whole_directory_lacks_nothing() -> None:
    assert lacks(WHOLE) is None


@pytest.mark.parametrize("order", list(permutations(WHOLE))[::37])
def test_it_is_complete_with_its_last_file_whatever_the_order(order: tuple[str, ...]) -> None:
    """Only fingerprint.pb, which nobody asks for, may come after."""
    asked_for = WHOLE.keys() - {"fingerprint.pb"}
    there: dict[str, bytes] = {}
    for name in order:
        there[name] = WHOLE[name]
        found = lacks(there)
        assert (found is None) == (asked_for <= there.keys())
        if found is not None:
            assert found.certain and found.what in asked_for - there.keys()


def test_a_data_file_that_is_too_short_is_told_with_its_lengths() -> None:
    short = WHOLE | {"variables/variables.data-00001-of-00002": b"x" * 299}
    assert lacks(short) == Lacking("variables/variables.data-00001-of-00002 (it has 299 of 300 bytes)")


def test_data_files_of_another_count_do_not_count() -> None:
    other = {name.replace("of-00002", "of-00003"): content for name, content in WHOLE.items()}
    assert lacks(other) == Lacking("variables/variables.data-00000-of-00002")


def test_a_model_without_variables_is_complete_by_its_graph_alone() -> None:
    assert lacks({PB: saved_model()}) is None


def test_a_graph_with_variables_waits_for_them() -> None:
    assert lacks({PB: saved_model(variables=True)}) == Lacking(INDEX)


def test_a_graph_that_was_saved_with_an_empty_checkpoint_waits_a_while_only() -> None:
    assert lacks({PB: saved_model(saver=True)}) == Lacking(INDEX, certain=False)


@pytest.mark.parametrize("damaged", [b"", b"no table", WHOLE[INDEX][:-1], b"\0" * 60 + WHOLE[INDEX][-8:]])
def test_what_cannot_be_read_is_left_to_the_scan(damaged: bytes) -> None:
    assert lacks(WHOLE | {INDEX: damaged}) is None
    assert lacks(WHOLE | {PB: b"\xff" * 9}) is None


def test_an_index_of_tensorflows_is_read() -> None:
    assert tensor_bundle.parse(REAL_INDEX) == tensor_bundle.Bundle(1, {0: 20254})
    files = {PB: saved_model(variables=True), INDEX: REAL_INDEX}
    assert lacks(files) == Lacking(DATA)
    assert lacks(files, sizes={DATA: 20253}) == Lacking(f"{DATA} (it has 20253 of 20254 bytes)")
    assert lacks(files, sizes={DATA: 20254}) is None


@given(st.dictionaries(st.integers(0, 30), st.integers(1, 2**40), min_size=1))
def test_any_index_tells_files_and_sizes(sizes: dict[int, int]) -> None:
    found = tensor_bundle.parse(bundle_index(sizes))
    assert found == tensor_bundle.Bundle(max(sizes) + 1, sizes)
    assert [least for _, least in found.files()] == [sizes.get(shard, 0) for shard in range(found.shards)]


@given(
    st.binary(max_size=200)
    | st.tuples(st.integers(0, len(REAL_INDEX) - 1), st.binary(min_size=1, max_size=1)).map(
        lambda change: REAL_INDEX[: change[0]] + change[1] + REAL_INDEX[change[0] + 1 :]
    )
)
def test_no_bytes_break_the_reader_of_an_index(content: bytes) -> None:
    try:
        assert tensor_bundle.parse(content).shards >= 1
    except tensor_bundle.UnreadableError as error:
        assert str(error)


@given(st.binary(max_size=100))
def test_no_bytes_break_the_reader_of_a_graph(content: bytes) -> None:
    try:
        assert isinstance(saved_model_proto.wants(content).variables, bool)
    except saved_model_proto.UnparsableError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("now", "before", "mix"),
    [
        ({"a": "1", "b": "1"}, {}, False),
        ({"a": "1", "b": "1"}, {"a": "1", "b": "1"}, False),  # only the options beside it changed
        ({"a": "2", "b": "2"}, {"a": "1", "b": "1"}, False),
        ({"a": "2", "b": "1"}, {"a": "1", "b": "1"}, True),
        ({"a": "1"}, {"a": "1", "b": "1"}, True),
        ({"a": "1", "b": "1", "c": "1"}, {"a": "1", "b": "1"}, True),
    ],
)
def test_old_and_new_files_together_are_a_mixture(now: dict[str, str], before: dict[str, str], mix: bool) -> None:
    upload = resolve("cats", [BlobRef(f"cats/{name}", etag, 1, NOON) for name, etag in now.items()])
    assert upload is not None
    assert mixed(upload, {f"cats/{name}": etag for name, etag in before.items()}) == mix
