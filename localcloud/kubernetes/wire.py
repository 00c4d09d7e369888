"""JSON as it is sent and stored."""

import orjson

from localcloud.kubernetes.objects import Object


def dump(body: Object) -> bytes:
    """Writes JSON, compact, in UTF-8."""
    return orjson.dumps(body)
