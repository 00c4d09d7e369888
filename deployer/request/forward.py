"""The way to the model servers: pooled connections, one request, its answer whole; no retry here."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

import aiohttp
from yarl import URL

from deployer.errors import SlipwayError, Unavailable
from deployer.request.routes import Target
from deployer.settings import ProxySettings

_KEEP_ALIVE_SECONDS = 30
_WRITTEN_AT_ONCE = 1 << 20  # bytes; a larger body is written in parts, as fast as the server takes them, and not copied
_PART = 1 << 18


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
    """No answer: the server has gone, or went away in the middle. ``__cause__`` is aiohttp's error.

    ``taken``: whether there was a connection, so that the server may have begun to work.
    """

    def __init__(self, message: str, *, taken: bool) -> None:
        super().__init__(message)
        self.taken = taken


@dataclass(frozen=True)
class _Sessions:
    pooled: aiohttp.ClientSession
    single: aiohttp.ClientSession


class Connections:
    """The connections of this instance. For one event loop: opened when first used, closed by ``close`` or with the loop."""

    def __init__(self, settings: ProxySettings) -> None:
        self._settings = settings
        self._open: AsyncGenerator[_Sessions] | None = None
        self._sessions: _Sessions | None = None

    async def send(self, target: Target, outgoing: Outgoing, *, seconds: float, pooled: bool = True) -> Response:
        """Asks a model server, for at most ``seconds``; not ``pooled``: on a connection of its own.

        Raises:
            Lost: there was no answer, or not a whole one.
            SlipwayError: ``answer_too_large`` (502).
            Unavailable: ``timeout`` (504): the server is there but slow, so that asking again would only add to its work.
        """
        sessions = self._sessions or await self.sessions()
        session = sessions.pooled if pooled else sessions.single
        headers: Mapping[str, str] = outgoing.headers
        data: bytes | AsyncIterator[memoryview] | None = outgoing.body or None
        if len(outgoing.body) > _WRITTEN_AT_ONCE:
            headers, data = {**headers, "Content-Length": str(len(outgoing.body))}, _parts(outgoing.body)
        url = URL(target.address + outgoing.path, encoded=True)
        try:
            async with (
                asyncio.timeout(seconds),
                session.request(outgoing.method, url, data=data, headers=headers, allow_redirects=False) as answer,
            ):
                return Response(answer.status, await _whole(answer, self._settings.max_answer_mb << 20), answer.headers)
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, aiohttp.ClientResponseError) as error:
            unconnected = isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError))
            raise Lost(str(error) or type(error).__name__, taken=not unconnected) from error
        except TimeoutError as error:
            raise Unavailable(
                "timeout", f"The model server did not answer within {seconds:.3g} s.",
                "Send fewer images at once, or raise SLIPWAY_PROXY__TIMEOUT_SECONDS.", status=HTTPStatus.GATEWAY_TIMEOUT,
            ) from error  # fmt: skip

    async def close(self) -> None:
        """Closes all connections."""
        if self._open is not None:
            await self._open.aclose()
        self._open = self._sessions = None

    async def sessions(self) -> _Sessions:
        """Pooled connections for requests to model servers, and single ones where a pooled one may be dead."""
        if self._sessions is None:
            self._open = self._opened()
            self._sessions = await anext(self._open)
        return self._sessions

    async def _opened(self) -> AsyncGenerator[_Sessions]:
        """Nobody tells a function that its process ends; but a loop that ends closes the generators that it began."""
        async with (
            self._session(aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_SECONDS)) as pooled,
            self._session(aiohttp.TCPConnector(limit=0, force_close=True)) as single,
        ):
            yield _Sessions(pooled, single)

    def _session(self, connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._settings.connect_seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept-Encoding", "Accept", "Content-Type"),
            auto_decompress=False,
        )


async def _parts(body: bytes) -> AsyncIterator[memoryview]:
    view = memoryview(body)
    for at in range(0, len(body), _PART):
        yield view[at : at + _PART]


async def _whole(answer: aiohttp.ClientResponse, most: int) -> bytes:
    """The body, if it has at most so many bytes; of a longer one no more is read."""
    length = answer.content_length
    if length is not None and length <= most:
        return await answer.read()
    content = bytearray()
    if length is None:
        async for chunk in answer.content.iter_any():
            content += chunk
            if len(content) > most:
                break
        else:
            return bytes(content)
    raise SlipwayError(
        "answer_too_large", f"The model server's answer has more than {most} bytes.",
        "Send fewer instances at once, or raise SLIPWAY_PROXY__MAX_ANSWER_MB.", status=HTTPStatus.BAD_GATEWAY,
    )  # fmt: skip
