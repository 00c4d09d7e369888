"""YAML as the server reads it: version 1.1, where a bare ``y`` is a boolean and a time is text."""

import re
from typing import Any

import yaml

from localcloud.kubernetes.errors import bad_request


def parse_yaml(text: bytes) -> Any:
    """Reads YAML 1.1, where a bare ``y`` is a boolean.

    Raises ApiError (400).
    """
    try:
        return yaml.load(text, Loader=_YamlLoader)  # noqa: S506  (a SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise bad_request(
            f"error decoding YAML: error converting YAML to JSON: yaml: line {line}: {error.problem}"
        ) from error
    except yaml.YAMLError as error:
        raise bad_request(f"error decoding YAML: error converting YAML to JSON: yaml: {error}") from error


class _YamlLoader(yaml.SafeLoader):
    """YAML as the server reads it: ``y`` and ``n`` are booleans, a time stays text."""


_YamlLoader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_YamlLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:y|Y|n|N)$"), list("yYnN"))
_YamlLoader.add_constructor(
    "tag:yaml.org,2002:bool",
    lambda _, node: str(node.value).lower() in ("y", "yes", "true", "on"),
)
