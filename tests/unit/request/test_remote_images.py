"""Images given by their address: only blobs of the accounts allowed, within bounds, over TLS to the host that was named."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import AddressFamily

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from deployer.errors import BadRequest, SlipwayError, Unavailable
from deployer.request.remote import allowed, fetch
from deployer.settings import ProxySettings
from tests.unit.request.pictures import png
from tests.unit.request.proxied import ModelServer, Slipway, answering

HOST = "cats.blob.core.windows.net"
SETTINGS = ProxySettings(url_accounts=("cats", "dogs"), url_seconds=20, max_body_mb=1)


@pytest.mark.parametrize(
    "url",
    [f"https://{HOST}/c/b.png", f"https://{HOST}:443/c/b.png?sv=1&sig=a%2Fb", "https://DOGS.blob.core.windows.net/c/b"],
)
def test_blobs_of_allowed_accounts_may_be_fetched(url: str) -> None:
    assert str(allowed(url, SETTINGS)).startswith("https://")


@pytest.mark.parametrize(
    "url",
    [
        f"http://{HOST}/c/b.png",
        "https://mice.blob.core.windows.net/c/b.png",
        f"https://{HOST}.evil.example/c",
        f"https://evil.example/{HOST}",
        f"https://{HOST}@evil.example/c",
        f"https://user:secret@{HOST}/c",
        f"https://evil.example#{HOST}",
        f"https://{HOST}#x",
        f"https://{HOST}:8443/c",
        f"https://{HOST}./c",
        f"https://x.{HOST}/c",
        "https://cats.blob.core.windows.net\\@evil.example/",
        "https://cats%2eblob.core.windows.net/c",
        "https://169.254.169.254/metadata/identity",
        "https://[::1]/c",
        "https://",
        "https://[",
        f"//{HOST}/c",
        "file:///etc/passwd",
        "",
        "\0",
    ],
)
def test_nothing_else_may(url: str) -> None:
    with pytest.raises(BadRequest) as refused:
        allowed(url, SETTINGS)
    assert (refused.value.code, refused.value.status) == ("url_not_allowed", 403)


def test_by_default_nothing_is_fetched() -> None:
    with pytest.raises(BadRequest, match="not fetched by their address here"):
        allowed(f"https://{HOST}/c/b.png", ProxySettings())


class Here(AbstractResolver):
    """Finds every host at one port of this machine."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def resolve(
        self, host: str, port: int = 0, family: AddressFamily = AddressFamily.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host, host="127.0.0.1", port=self._port, family=AddressFamily.AF_INET, proto=0, flags=0
            )
        ]

    async def close(self) -> None:
        """Nothing."""


def certificate(folder: Path, host: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context, and a client's that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "both.pem").write_bytes(private + made.public_bytes(pem))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "both.pem")
    return server, ssl.create_default_context(cadata=made.public_bytes(pem).decode())


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Storage:
    """A storage account on this machine, as its client sees it."""

    session: aiohttp.ClientSession
    handler: Handler
    asked: list[str]

    async def get(self, path: str, settings: ProxySettings = SETTINGS) -> bytes:
        return await fetch(self.session, allowed(f"https://{HOST}{path}", settings), settings)


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    """Answers each request by the handler that the test sets."""
    server_side, client_side = certificate(tmp_path, HOST)

    async def handle(request: web.Request) -> web.StreamResponse:
        found.asked.append(f"{request.path} {dict(request.query)}")
        return await found.handler(request)

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_side).start()
    connector = aiohttp.TCPConnector(resolver=Here(runner.addresses[0][1]), ssl=client_side, force_close=True)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
        found = Storage(session, answer(png()), [])
        yield found
    await runner.cleanup()


def answer(body: bytes = b"", status: int = 200, **headers: str) -> Handler:
    async def handle(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, status=status, headers=headers)

    return handle


async def test_a_blob_is_fetched_with_its_sas_as_it_was_given(storage: Storage) -> None:
    assert await storage.get("/c/b.png?sv=2024&sig=a%2Fb%3D") == png()
    assert storage.asked == ["/c/b.png {'sv': '2024', 'sig': 'a/b='}"]


@pytest.mark.parametrize("status", [301, 302, 307, 403, 404, 500])
async def test_redirects_are_not_followed_and_refusals_are_told(storage: Storage, status: int) -> None:
    storage.handler = answer(status=status, Location=f"https://{HOST}/other")
    with pytest.raises(BadRequest, match=f"answered {status} for '/c/b.png'") as refused:
        await storage.get("/c/b.png?sig=secret")
    assert refused.value.code == "url_not_readable"
    assert "secret" not in refused.value.message
    assert len(storage.asked) == 1


async def test_a_blob_beyond_the_bound_is_not_read_to_its_end(storage: Storage) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(1000):
            await response.write(bytes(1 << 16))
            await asyncio.sleep(0)  # both sides share a loop
        return response

    storage.handler = endless
    async with asyncio.timeout(60):
        with pytest.raises(BadRequest) as refused:
            await storage.get("/c/b.png")
    assert (refused.value.code, refused.value.status) == ("too_large", 413)


async def test_a_blob_that_does_not_come_is_given_up(storage: Storage) -> None:
    release = asyncio.Event()

    async def never(_request: web.Request) -> web.StreamResponse:
        await release.wait()
        return web.Response()

    storage.handler = never
    with pytest.raises(Unavailable) as late:
        await storage.get("/c/b.png", SETTINGS.model_copy(update={"url_seconds": 0.3}))
    release.set()
    assert (late.value.code, late.value.status) == ("url_unreachable", 503)


async def test_a_host_that_only_says_it_is_the_account_is_not_believed(storage: Storage) -> None:
    with pytest.raises(Unavailable):
        await fetch(storage.session, allowed("https://dogs.blob.core.windows.net/c/b", SETTINGS), SETTINGS)
    assert storage.asked == []


@pytest.mark.parametrize("content", [png(), b"hello"])
async def test_a_fetched_image_is_checked_and_classified_as_any_other(storage: Storage, content: bytes) -> None:
    storage.handler = answer(content)
    slipway = Slipway(SETTINGS)
    sessions = await slipway.proxy._connections.sessions()
    slipway.proxy._connections._sessions = replace(sessions, single=storage.session)
    async with ModelServer(answering) as server:
        slipway.serve(server.address)
        try:
            found = await slipway.ask(url=f"https://{HOST}/c/b.png")
            assert (found.version, content) == (1, png())
        except SlipwayError as refused:
            assert (refused.code, content) == ("bad_image", b"hello")
    await slipway.proxy.close()
