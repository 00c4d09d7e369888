"""Patches, by the examples of their specifications."""

from typing import Any

import pytest

from localcloud.kubernetes.errors import ApiError
from localcloud.kubernetes.patches import json_patch, merge_patch, strategic_merge
from localcloud.kubernetes.resources import DEPLOYMENTS
from localcloud.kubernetes.schema import root


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch_does_what_rfc_7396_lists(target: Any, patch: Any, result: Any) -> None:
    """The test cases of RFC 7396, appendix A, whose patch is an object."""
    assert merge_patch(target, patch) == result


@pytest.mark.parametrize(
    ("target", "operation", "result"),
    [
        ({"foo": "bar"}, {"op": "add", "path": "/baz", "value": "qux"}, {"baz": "qux", "foo": "bar"}),
        (
            {"foo": ["bar", "baz"]},
            {"op": "add", "path": "/foo/1", "value": "qux"},
            {"foo": ["bar", "qux", "baz"]},
        ),
        ({"baz": "qux", "foo": "bar"}, {"op": "remove", "path": "/baz"}, {"foo": "bar"}),
        ({"foo": ["bar", "qux", "baz"]}, {"op": "remove", "path": "/foo/1"}, {"foo": ["bar", "baz"]}),
        ({"baz": "qux"}, {"op": "replace", "path": "/baz", "value": "boo"}, {"baz": "boo"}),
        (
            {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
            {"op": "move", "from": "/foo/waldo", "path": "/qux/thud"},
            {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
        ),
        ({"foo": ["all", "grass"]}, {"op": "move", "from": "/foo/0", "path": "/foo/1"}, {"foo": ["grass", "all"]}),
        ({"baz": "qux"}, {"op": "test", "path": "/baz", "value": "qux"}, {"baz": "qux"}),
        ({"/": 9, "~1": 10}, {"op": "test", "path": "/~01", "value": 10}, {"/": 9, "~1": 10}),
        ({"foo": ["bar"]}, {"op": "add", "path": "/foo/-", "value": ["abc"]}, {"foo": ["bar", ["abc"]]}),
    ],
)
def test_json_patch_does_what_rfc_6902_lists(target: Any, operation: Any, result: Any) -> None:
    """The examples of RFC 6902, appendix A."""
    assert json_patch(target, [operation]) == result


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/baz", "value": "bar"},
        {"op": "add", "path": "/a/b", "value": 1},
        {"op": "remove", "path": "/nope"},
        {"op": "nonsense", "path": "/baz"},
        {"op": "add", "path": "/list/7", "value": 1},
        {"path": "/baz"},
    ],
)
def test_json_patch_that_does_not_apply_is_refused_whole(operation: Any) -> None:
    target = {"baz": "qux", "list": []}
    with pytest.raises(ApiError) as refused:
        json_patch(target, [{"op": "remove", "path": "/baz"}, {"op": "add", "path": "/baz", "value": "qux"}, operation])
    assert refused.value.code == 422
    assert target == {"baz": "qux", "list": []}


def containers(item: Any) -> list[Any]:
    found: list[Any] = item["spec"]["template"]["spec"]["containers"]
    return found


def pod_template(*entries: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": list(entries)}}}}


def test_a_strategic_merge_matches_containers_by_name_and_replaces_their_arguments() -> None:
    node = root(DEPLOYMENTS.definition)
    target = pod_template({"name": "a", "image": "x", "args": ["1", "2"]}, {"name": "b", "image": "y"})
    merged = strategic_merge(node, target, pod_template({"name": "a", "args": ["3"]}))
    assert containers(merged) == [{"name": "a", "image": "x", "args": ["3"]}, {"name": "b", "image": "y"}]


def test_a_strategic_merge_deletes_and_replaces_by_directive() -> None:
    node = root(DEPLOYMENTS.definition)
    target = pod_template({"name": "a"}, {"name": "b"})
    assert containers(strategic_merge(node, target, pod_template({"name": "a", "$patch": "delete"}))) == [{"name": "b"}]
    replaced = strategic_merge(node, target, pod_template({"$patch": "replace"}, {"name": "c"}))
    assert containers(replaced) == [{"name": "c"}]
