"""The answer where the user is: index tags on the uploaded blob. Setting tags does not change a blob's ETag."""

import re
from collections.abc import Mapping

from deployer.ports import UploadStore
from deployer.record import ModelRecord

_FORBIDDEN = re.compile(r"[^A-Za-z0-9 +\-./:=_]")  # Azure: what a tag's value may hold, and at most 256 characters
_MAX = 256


def tags_of(state: str, version: int | None, reason: str | None) -> Mapping[str, str]:
    """The tags that say this; an empty value takes a tag away."""
    return {
        "slipway_state": state,
        "slipway_version": "" if version is None else str(version),
        "slipway_reason": _FORBIDDEN.sub(" ", reason or "")[:_MAX],
    }


def tag_upload(uploads: UploadStore, record: ModelRecord) -> None:
    """Writes the state of the model's newest upload on its blob."""
    if (upload := record.upload) is not None:
        uploads.tag(upload.blob, tags_of(upload.state, upload.version, upload.reason))
