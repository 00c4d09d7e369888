"""What a request's path asks about. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A resource, or one object of it, or a subresource of that object."""

    group: str
    version: str
    plural: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    old_watch: bool = False
    """Whether the path is of the old form ``/api/v1/watch/…``."""


def parse_path(path: str) -> Target | None:
    """Reads a path below ``/api/VERSION`` or ``/apis/GROUP/VERSION``; None where it names no resource."""
    match [part for part in path.split("/") if part]:
        case ["api", version, *rest] if rest:
            return _target("", version, rest)
        case ["apis", group, version, *rest] if rest:
            return _target(group, version, rest)
        case _:
            return None


def _target(group: str, version: str, rest: list[str]) -> Target | None:
    old_watch = rest[0] == "watch"
    if old_watch:
        rest = rest[1:]
    namespace = ""
    match rest:
        case ["namespaces", name, plural, *below] if plural not in ("status", "finalize"):
            namespace, rest = name, [plural, *below]
        case _:
            pass
    match rest:
        case [plural]:
            return Target(group, version, plural, namespace, old_watch=old_watch)
        case [plural, name]:
            return Target(group, version, plural, namespace, name, old_watch=old_watch)
        case [plural, name, *below]:
            return Target(group, version, plural, namespace, name, "/".join(below))
        case _:
            return None
