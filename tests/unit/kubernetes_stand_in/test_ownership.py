"""Server-side apply over field ownership, without a server."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.kubernetes.errors import ApiError
from localcloud.kubernetes.fieldsets import fields_of, from_fields_v1, to_fields_v1
from localcloud.kubernetes.ownership import Manager, Ownership, apply, record_update
from localcloud.kubernetes.resources import CONFIG_MAPS, DEPLOYMENTS
from localcloud.kubernetes.schema import root

NODE = root(CONFIG_MAPS.definition)
ANN = Manager("ann", "Apply", "v1")
BOB = Manager("bob", "Apply", "v1")
NOBODY = Ownership({}, {})

data = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["1", "2"]), max_size=6)


def config(**entries: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": entries}


def test_what_one_applier_drops_stays_if_another_owns_it_too() -> None:
    one = apply(NODE, {}, config(a="1", b="1"), NOBODY, ANN, force=False)
    both = apply(NODE, one.item, config(a="1"), one.ownership, BOB, force=False)
    nothing = {key: part for key, part in config().items() if key != "data"}
    left = apply(NODE, both.item, nothing, both.ownership, ANN, force=False)
    assert left.item["data"] == {"a": "1"}
    assert set(left.ownership.fields) == {BOB}


def test_a_conflict_changes_nothing_and_force_takes_the_field() -> None:
    one = apply(NODE, {}, config(a="1"), NOBODY, ANN, force=False)
    with pytest.raises(ApiError) as refused:
        apply(NODE, one.item, config(a="2"), one.ownership, BOB, force=False)
    assert refused.value.details == {
        "causes": [{"reason": "FieldManagerConflict", "message": 'conflict with "ann"', "field": ".data.a"}]
    }
    taken = apply(NODE, one.item, config(a="2"), one.ownership, BOB, force=True)
    assert taken.item["data"] == {"a": "2"}
    assert set(taken.ownership.fields) == {BOB}


def test_a_plain_write_takes_what_it_changes() -> None:
    one = apply(NODE, {}, config(a="1", b="1"), NOBODY, ANN, force=False)
    writer = Manager("edit", "Update", "v1")
    after = {**one.item, "data": {"a": "2", "b": "1"}}
    owners = record_update(NODE, one.ownership, writer, one.item, after)
    assert owners.fields[writer] == {("f:data", "f:a")}
    assert owners.fields[ANN] == {("f:data", "f:b")}


def test_list_entries_are_owned_by_their_keys() -> None:
    node = root(DEPLOYMENTS.definition)
    container = {"name": "c", "ports": [{"containerPort": 8501}]}
    claimed = fields_of(node, {"spec": {"template": {"spec": {"containers": [container]}}}})
    port = 'k:{"containerPort":8501,"protocol":"TCP"}'
    assert any(path[-2:] == (port, "f:containerPort") for path in claimed)


@given(data, data, data)
def test_the_last_applied_configuration_always_holds_and_nothing_unowned_appears(
    first: dict[str, str], second: dict[str, str], third: dict[str, str]
) -> None:
    """With force, after any sequence, the object is what the appliers' latest configurations say together."""
    state = apply(NODE, {}, config(**first), NOBODY, ANN, force=True)
    state = apply(NODE, state.item, config(**second), state.ownership, BOB, force=True)
    state = apply(NODE, state.item, config(**third), state.ownership, ANN, force=True)
    held = state.item.get("data") or {}
    assert third.items() <= held.items()
    assert held.keys() <= third.keys() | second.keys()


@given(data, data)
def test_fields_v1_reads_back_what_was_written(first: dict[str, str], second: dict[str, str]) -> None:
    fields = fields_of(NODE, config(**first)) | fields_of(NODE, {"metadata": {"labels": second}})
    assert from_fields_v1(to_fields_v1(fields)) == fields
