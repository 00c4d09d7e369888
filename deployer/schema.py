"""Whether a new version would break the clients of the one they know: asked before it may serve."""

import logging

from pydantic import ValidationError

from deployer.ports import ServableStore
from deployer.record import ModelRecord
from exporter import Manifest
from exporter.schema_diff import schema_diff

log = logging.getLogger(__name__)


def known_to_clients(record: ModelRecord) -> int | None:
    """The version whose inputs and outputs clients rely on: the one that serves, or served before it fell asleep."""
    if record.route is not None:
        return record.route.version
    desired = record.desired
    if desired is not None and record.version(desired).state == "serving":
        return desired
    return record.previous if desired is not None else None


def breaking_change(servables: ServableStore, model: str, old: int, new: int) -> tuple[str, ...]:
    """All differences between two versions, a line for each, if any of them breaks clients; else none.

    Those that break begin with an exclamation mark. Where a servable.json is gone there is nothing to compare.
    """
    before, after = _manifest(servables, model, old), _manifest(servables, model, new)
    if before is None or after is None:
        return ()
    diff = schema_diff(before, after)
    return tuple(diff.lines) if diff.breaking else ()


def _manifest(servables: ServableStore, model: str, version: int) -> Manifest | None:
    path = f"{model}/{version}/servable.json"
    stored = servables.read(path)
    try:
        return None if stored is None else Manifest.model_validate_json(stored.data)
    except ValidationError as error:
        log.warning("'%s' cannot be read, so v%s of '%s' is not compared: %s", path, version, model, error)
        return None
