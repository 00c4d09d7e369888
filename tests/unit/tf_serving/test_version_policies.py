"""Version folders and policies: file_system_storage_path_source.cc and availability_preserving_policy.cc."""

from hypothesis import given
from hypothesis import strategies as st

from localcloud.tf_serving.versions import All, Latest, Specific, aspired, may_unload, numbered

FOLDERS = {1: "1", 5: "005", 123: "00000123"}


def test_names_that_are_numbers_are_versions_and_others_are_not() -> None:
    children = ["00000123", "1", "005", "latest", "1a", "", "assets.extra", "1.5", str(2**63)]
    assert numbered(children) == FOLDERS


def test_each_policy_chooses_among_what_is_there() -> None:
    assert aspired(Latest(1), FOLDERS) == {123: "00000123"}
    assert list(aspired(Latest(2), FOLDERS)) == [5, 123]
    assert aspired(All(), FOLDERS) == FOLDERS
    assert aspired(Specific(frozenset({5, 9})), FOLDERS) == {5: "005"}
    assert aspired(Latest(1), {}) == {}


@given(st.sets(st.integers(0, 5)), st.sets(st.integers(0, 5)))
def test_old_versions_go_only_when_a_wanted_one_serves_or_none_is_wanted(wanted: set[int], available: set[int]) -> None:
    assert may_unload(wanted, available) == (not wanted or not wanted.isdisjoint(available))
