"""Asks a served version its golden questions, recorded at its conversion."""

import json

from deployer.golden import differs
from deployer.ports import ModelServer


def difference(server: ModelServer, address: str, model: str, version: int, manifest: bytes) -> str | None:
    """How the server at this address answers otherwise than ``manifest`` (``servable.json``) says; None where it does not.

    A servable without golden predictions (its outputs are random, say) is proven by having been loaded.

    Raises:
        Unavailable: a question was not answered.
    """
    for golden in json.loads(manifest)["golden"]:
        outputs = server.predict(address, model, version, golden["signature"], golden["inputs"])
        if (found := differs(golden["outputs"], outputs, rtol=golden["rtol"], atol=golden["atol"])) is not None:
            return f"{golden['signature']}: {found}"
    return None
