"""``/admin/faults``: orders, shows and takes back faults. Asks for the identity endpoint's secret header.

GET lists those to come, POST orders one (`Fault` as JSON, or ``{"on": …, "known": NAME}``), DELETE takes all back.
"""

import hmac
from typing import Any

from aiohttp import web
from pydantic import ValidationError

from localcloud.arm.faults import KNOWN, Fault, FaultBook
from localcloud.arm.identity import Identity

ADMIN_PATH = "/admin/faults"
SECRET_HEADER = "X-IDENTITY-HEADER"  # noqa: S105  (the header's name)


class FaultAdmin:
    """The endpoint over one `FaultBook`."""

    def __init__(self, book: FaultBook, identity: Identity) -> None:
        self._book = book
        self._identity = identity

    def add_to(self, app: web.Application) -> None:
        """Adds the routes."""
        app.router.add_route("*", ADMIN_PATH, self._answer)

    async def _answer(self, request: web.Request) -> web.Response:
        if not hmac.compare_digest(request.headers.get(SECRET_HEADER, ""), self._identity.header):
            return web.json_response({"error": f"The header {SECRET_HEADER} is missing or wrong."}, status=401)
        match request.method:
            case "GET":
                pass
            case "POST":
                try:
                    self._book.order(_fault(await request.json()))
                except (ValidationError, ValueError) as error:
                    return web.json_response({"error": _first(error)}, status=400)
            case "DELETE":
                self._book.clear()
            case _:
                return web.json_response({"error": "GET, POST and DELETE are taken."}, status=405)
        return web.json_response({"faults": [fault.model_dump(mode="json") for fault in self._book.pending]})


def _fault(body: Any) -> Fault:
    """The fault of a request's body; what it gives besides ``known`` wins. Raises ValueError."""
    if not isinstance(body, dict):
        raise ValueError("a fault is a JSON object")
    name = body.pop("known", None)
    if name is None:
        return Fault.model_validate(body)
    if name not in KNOWN:
        raise ValueError(f"no error is named {name}; there are {', '.join(KNOWN)}")
    return Fault.model_validate(KNOWN[name].model_dump(exclude_none=True) | body)


def _first(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        told = error.errors()[0]
        where = ".".join(str(part) for part in told["loc"])
        return f"{where}: {told['msg']}" if where else str(told["msg"])
    return str(error)
