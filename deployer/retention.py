"""Which old versions of a model are kept. Pure; ``deployer.plan`` decides when the others go."""

from deployer.record import ModelRecord, VersionRecord, VersionState

WITH_FILES: frozenset[VersionState] = frozenset({"published", "serving", "retired", "failed"})
"""States of versions whose servables are there and may go; one that is held back waits for its owner's word."""


def superfluous(record: ModelRecord, keep: int) -> tuple[int, ...]:
    """The versions whose servables are to be deleted: all but the newest ``keep``, and those whose deletion was cut short.

    Never the one that serves or shall serve, nor the one before it. An upload on its way that would end at one that goes makes
    another of the same content.
    """
    newest = sorted((item.version for item in record.versions if item.state in WITH_FILES), reverse=True)[:keep]
    return tuple(
        item.version
        for item in record.versions
        if item.state == "deleting" or (item.version not in newest and _may_go(record, item))
    )


def going(record: ModelRecord, versions: tuple[int, ...]) -> ModelRecord:
    """The record with those of them marked that may go by now: from here on nothing goes back to them."""
    after = record
    for item in record.versions:
        if item.version in versions and _may_go(record, item):
            after = after.with_version(item.but(state="deleting"))
    return after


def _may_go(record: ModelRecord, item: VersionRecord) -> bool:
    route = record.route
    needed = {record.desired, record.previous}
    if route is not None:
        needed |= {route.version, route.canary.version if route.canary is not None else None}
    return item.state in WITH_FILES and item.version not in needed
