"""Cross-origin requests, as the platform answers for an app.

The settings: ``CORS_ALLOWED_ORIGINS``, a JSON list, and ``CORS_SUPPORT_CREDENTIALS``, ``true`` or nothing. On Azure this is a
setting of the site (``az functionapp cors add``), which its front end applies before the host sees a request; the names are those
under which the platform hands it to a host that must do so itself. An origin that is not allowed gets its answer all the same,
without the headers that would let a browser read it.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web
from aiohttp.web_request import BaseRequest

from localcloud.functions_host.errors import SettingError

Handler = Callable[[BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Cors:
    """The origins that may read answers; ``*`` for all."""

    origins: frozenset[str]
    credentials: bool

    def around(self, handle: Handler) -> Handler:
        """The handler, with preflight requests answered and headers added for allowed origins."""

        async def handled(request: BaseRequest) -> web.StreamResponse:
            origin = request.headers.get("Origin")
            if origin is None:
                return await handle(request)
            preflight = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
            response = web.Response(status=204) if preflight else await handle(request)
            if "*" in self.origins or origin.lower() in self.origins:
                response.headers.update(self._headers(request, origin))
            return response

        return handled

    def _headers(self, request: BaseRequest, origin: str) -> dict[str, str]:
        anybody = "*" in self.origins and not self.credentials
        headers = {"Access-Control-Allow-Origin": "*" if anybody else origin}
        if not anybody:
            headers["Vary"] = "Origin"
        if self.credentials:
            headers["Access-Control-Allow-Credentials"] = "true"
        for asked, allowed in (("Method", "Methods"), ("Headers", "Headers")):
            if (wanted := request.headers.get(f"Access-Control-Request-{asked}")) is not None:
                headers[f"Access-Control-Allow-{allowed}"] = wanted
        return headers


def cors(settings: Mapping[str, str]) -> Cors | None:
    """What the settings allow; None where they allow nothing.

    Raises:
        SettingError: ``CORS_ALLOWED_ORIGINS`` is no JSON list of origins.
    """
    text = settings.get("CORS_ALLOWED_ORIGINS", "")
    if not text:
        return None
    try:
        origins = json.loads(text)
    except ValueError:
        origins = None
    if not isinstance(origins, list) or not all(isinstance(origin, str) for origin in origins):
        raise SettingError(
            f'CORS_ALLOWED_ORIGINS must be a JSON list like ["https://example.com"]; it is {text[:100]!r}.'
        )
    credentials = settings.get("CORS_SUPPORT_CREDENTIALS", "").lower() == "true"
    return Cors(frozenset(origin.rstrip("/").lower() for origin in origins), credentials) if origins else None
