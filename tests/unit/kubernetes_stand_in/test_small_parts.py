"""Selectors, quantities, names, durations."""

from decimal import Decimal

import pytest

from localcloud.kubernetes.columns import human_duration
from localcloud.kubernetes.errors import ApiError
from localcloud.kubernetes.names import label_value_fault, subdomain_fault
from localcloud.kubernetes.objects import template_hash
from localcloud.kubernetes.quantities import parse_quantity
from localcloud.kubernetes.selectors import match_labels, parse_field_selector, parse_label_selector

ITEM = {"metadata": {"name": "m", "labels": {"tier": "a", "n": "3"}}}


@pytest.mark.parametrize(
    ("selector", "selects"),
    [
        ("", True), ("tier=a", True), ("tier==a", True), ("tier!=a", False), ("tier in (a,b),n notin (1,2)", True),
        ("!tier", False), ("tier,n=3", True), ("n>2", True), ("n<3", False), ("nope!=x", True),
    ],
)  # fmt: skip
def test_label_selectors_select(selector: str, selects: bool) -> None:
    assert parse_label_selector(selector)(ITEM) is selects


@pytest.mark.parametrize("selector", ["tier in a", "=x", "a b", "tier=-", "tier in (a"])
def test_malformed_label_selectors_are_refused(selector: str) -> None:
    with pytest.raises(ApiError) as refused:
        parse_label_selector(selector)
    assert refused.value.code == 400


def test_an_empty_label_selector_object_selects_everything_and_none_nothing() -> None:
    assert match_labels({}, {"a": "b"})
    assert not match_labels(None, {"a": "b"})


def test_pods_are_selected_by_node_and_phase() -> None:
    pod = {"metadata": {"name": "p"}, "spec": {"nodeName": "n"}, "status": {"phase": "Running"}}
    assert parse_field_selector("spec.nodeName=n,status.phase!=Failed", "Pod")(pod)
    with pytest.raises(ApiError):
        parse_field_selector("spec.replicas=1", "Deployment")


@pytest.mark.parametrize(
    ("text", "amount"),
    [("500m", "0.5"), ("2", "2"), ("10Gi", "10737418240"), ("1e3", "1000"), ("1.5k", "1500"), ("100n", "1e-7")],
)
def test_quantities_are_read_as_kubernetes_documents_them(text: str, amount: str) -> None:
    assert parse_quantity(text) == Decimal(amount)


@pytest.mark.parametrize("text", ["", "1Zi", "abc", "1 Gi"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no quantity"):
        parse_quantity(text)


def test_names_follow_rfc_1123() -> None:
    assert subdomain_fault("tfs-cats-v2.models") is None
    assert subdomain_fault("Bad_Name") is not None
    assert subdomain_fault("a" * 254) is not None
    assert label_value_fault("") is None
    assert label_value_fault("-") is not None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (119, "119s"), (120, "2m"), (125, "2m5s"), (600, "10m"), (3 * 3600, "3h"), (50 * 3600, "2d2h")],
)
def test_ages_are_written_as_kubectl_writes_them(seconds: int, text: str) -> None:
    assert human_duration(seconds) == text


def test_a_template_hash_does_not_depend_on_the_order_of_keys() -> None:
    assert template_hash({"a": 1, "b": {"c": 2, "d": 3}}) == template_hash({"b": {"d": 3, "c": 2}, "a": 1})
    assert template_hash({"a": 1}) != template_hash({"a": 2})
