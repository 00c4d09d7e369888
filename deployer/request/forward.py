"""The way to the model servers: pooled connections, one request, its answer whole; no retry here."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

import aiohttp
from yarl import URL

from deployer.errors import Unavailable
from deployer.request.routes import Target
from deployer.settings import ProxySettings

_KEEP_ALIVE_SECONDS = 30


@dataclass(frozen=True)
class Outgoing:
    """A request to a model server: the path below its address, and what is sent."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Response:
    """What a model server answered. ``body`` as it came over the wire, compressed or not."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether this speaks of a failing server, not of a request that it cannot answer."""
        return self.status >= HTTPStatus.INTERNAL_SERVER_ERROR and self.status != HTTPStatus.NOT_IMPLEMENTED


class Lost(Exception):
    """No answer: the server has gone, or went away in the middle. ``__cause__`` is aiohttp's error."""


class Connections:
    """The connections of this instance. For one event loop; opened when first used."""

    def __init__(self, settings: ProxySettings) -> None:
        self._settings = settings
        self._pooled: aiohttp.ClientSession | None = None
        self._single: aiohttp.ClientSession | None = None

    async def send(self, target: Target, outgoing: Outgoing, *, seconds: float, pooled: bool = True) -> Response:
        """Asks a model server, for at most ``seconds``; not ``pooled``: on a connection of its own.

        Raises:
            Lost: there was no answer, or not a whole one.
            Unavailable: ``timeout`` (504): the server is there but slow, so that asking again would only add to its work.
        """
        session = self.pooled if pooled else self.single
        url = URL(target.address + outgoing.path, encoded=True)
        try:
            async with (
                asyncio.timeout(seconds),
                session.request(
                    outgoing.method, url, data=outgoing.body or None, headers=outgoing.headers, allow_redirects=False
                ) as answer,
            ):
                return Response(answer.status, await answer.read(), answer.headers)
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, aiohttp.ClientResponseError) as error:
            raise Lost(str(error) or type(error).__name__) from error
        except TimeoutError as error:
            raise Unavailable(
                "timeout", f"The model server did not answer within {seconds:.3g} s.",
                "Send fewer images at once, or raise SLIPWAY_PROXY__TIMEOUT_SECONDS.", status=HTTPStatus.GATEWAY_TIMEOUT,
            ) from error  # fmt: skip

    async def close(self) -> None:
        """Closes all connections."""
        for session in (self._pooled, self._single):
            if session is not None:
                await session.close()

    @property
    def pooled(self) -> aiohttp.ClientSession:
        """For requests to model servers."""
        if self._pooled is None:
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_SECONDS)
            self._pooled = self._session(connector)
        return self._pooled

    @property
    def single(self) -> aiohttp.ClientSession:
        """For requests that must not meet a pooled connection that may be dead."""
        if self._single is None:
            self._single = self._session(aiohttp.TCPConnector(limit=0, force_close=True))
        return self._single

    def _session(self, connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._settings.connect_seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept-Encoding", "Accept", "Content-Type"),
            auto_decompress=False,
        )
