"""What Kubernetes allows as a name, a label key and a label value, with its own words for what it does not. Pure."""

import re

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = f"({_QUALIFIED})?"


def subdomain_fault(name: str) -> str | None:
    """Says why ``name`` is no RFC 1123 subdomain (most objects' names), or None."""
    if len(name) > 253:
        return "must be no more than 253 characters"
    if re.fullmatch(_SUBDOMAIN, name):
        return None
    return (
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
        f"and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
    )


def label_fault(name: str) -> str | None:
    """Says why ``name`` is no RFC 1123 label (namespaces, Services, containers, volumes), or None."""
    if len(name) > 63:
        return "must be no more than 63 characters"
    if re.fullmatch(_LABEL, name):
        return None
    return (
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
        f"with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
    )


def label_key_fault(key: str) -> str | None:
    """Says why ``key`` is no qualified name (label and annotation keys), or None."""
    prefix, slash, name = key.rpartition("/")
    if slash and subdomain_fault(prefix):
        return f"prefix part {subdomain_fault(prefix)}"
    if name and len(name) <= 63 and re.fullmatch(_QUALIFIED, name):
        return None
    if not name:
        return "name part must be non-empty"
    if len(name) > 63:
        return "name part must be no more than 63 characters"
    return (
        "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
        "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
        f"'{_QUALIFIED}')"
    )


def label_value_fault(value: str) -> str | None:
    """Says why ``value`` cannot stand in a label, or None."""
    if len(value) > 63:
        return "must be no more than 63 characters"
    if re.fullmatch(_VALUE, value):
        return None
    return (
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start "
        "and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
        f"validation is '{_VALUE}')"
    )
