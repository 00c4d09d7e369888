"""Tokens of the local cloud: the managed identity endpoint of App Service, and the check of what it issued.

Protocol (version 2019-08-01): GET ``IDENTITY_ENDPOINT?resource=…&api-version=2019-08-01`` with the header
``X-IDENTITY-HEADER`` holding the secret in ``IDENTITY_HEADER``.
"""

import base64
import binascii
import hashlib
import hmac
import json
import time

from aiohttp import web

AKS_SERVER_APPLICATION_ID = "6dae42f8-4368-4678-94ff-3960e28e3630"
"""The Entra application that every AKS API server with Entra sign-in accepts tokens for."""

CLIENT_ID = "5a11c10d-0000-4000-8000-000000000001"
ENDPOINT_PATH = "/msi/token"
_MANAGEMENT = frozenset({"https://management.azure.com", "https://management.core.windows.net"})
_LIFETIME_SECONDS = 24 * 3600
_API_VERSION = "2019-08-01"


class Identity:
    """The app's managed identity: issues tokens for ARM and for the Kubernetes API, and checks those for ARM."""

    def __init__(self, *, header: str, signing_key: str, kubernetes_token: str) -> None:
        self.header = header
        self._key = signing_key.encode()
        self._kubernetes_token = kubernetes_token

    async def answer(self, request: web.Request) -> web.Response:
        """The identity endpoint."""
        if not hmac.compare_digest(request.headers.get("X-IDENTITY-HEADER", ""), self.header):
            return _refusal(401, "The X-IDENTITY-HEADER header is missing or is not the one in IDENTITY_HEADER.")
        if request.query.get("api-version") != _API_VERSION:
            return _refusal(400, f"The api-version must be {_API_VERSION}.")
        resource = request.query.get("resource", "").removesuffix("/")
        if resource.removeprefix("api://") == AKS_SERVER_APPLICATION_ID:
            token = self._kubernetes_token
        elif resource in _MANAGEMENT:
            token = self.issue(resource)
        else:
            return _refusal(
                400,
                f"No token for resource '{resource}': this identity has access to {', '.join(sorted(_MANAGEMENT))} "
                f"and {AKS_SERVER_APPLICATION_ID}.",
            )
        expires = str(int(time.time()) + _LIFETIME_SECONDS)
        return web.json_response(
            {
                "access_token": token,
                "expires_on": expires,
                "resource": request.query["resource"],
                "token_type": "Bearer",
                "client_id": CLIENT_ID,
            }
        )

    def issue(self, audience: str) -> str:
        """A signed token (JWT, HS256) for ``audience``, valid for a day."""
        now = int(time.time())
        claims = {"aud": audience, "iat": now, "exp": now + _LIFETIME_SECONDS, "appid": CLIENT_ID}
        signed = f"{_encode({'alg': 'HS256', 'typ': 'JWT'})}.{_encode(claims)}"
        return f"{signed}.{self._signature(signed)}"

    def refusal(self, authorization: str | None) -> str | None:
        """Why ARM does not accept this Authorization header; None where it does."""
        if authorization is None:
            return "Authentication failed. The 'Authorization' header is missing."
        scheme, _, token = authorization.partition(" ")
        signed, _, signature = token.rpartition(".")
        if scheme.lower() != "bearer" or not hmac.compare_digest(signature.encode(), self._signature(signed).encode()):
            return "The access token is invalid: it was not issued by this local cloud's identity endpoint."
        claims = _decode(signed.partition(".")[2])
        if claims.get("aud") not in _MANAGEMENT:
            return f"The access token has been obtained for wrong audience or resource '{claims.get('aud')}'."
        if not isinstance(expires := claims.get("exp"), int) or expires < time.time():
            return "The access token expiry is in the past."
        return None

    def _signature(self, text: str) -> str:
        return _unpadded(hmac.new(self._key, text.encode(), hashlib.sha256).digest())


def _refusal(status: int, message: str) -> web.Response:
    return web.json_response({"statusCode": status, "message": message}, status=status)


def _unpadded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _encode(value: dict[str, object]) -> str:
    return _unpadded(json.dumps(value, separators=(",", ":")).encode())


def _decode(text: str) -> dict[str, object]:
    try:
        value = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
