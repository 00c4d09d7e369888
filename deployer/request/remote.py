"""Fetches an image that a request gives by its address: blobs of the accounts that the settings name, and nothing else.

Off unless ``SLIPWAY_PROXY__URL_ACCOUNTS`` names accounts. The host is compared whole, redirects are not followed, and the
app's own identity is never used: whoever holds a function key could read with it what only the app may. A blob that is not
public needs a SAS in its address.
"""

import asyncio
from http import HTTPStatus

import aiohttp
from yarl import URL

from deployer.errors import BadRequest, Unavailable
from deployer.settings import ProxySettings

_CHUNK = 1 << 16


def allowed(text: str, settings: ProxySettings) -> URL:
    """The address, if it is one that may be fetched.

    Raises:
        BadRequest: ``url_not_allowed``.
    """
    hosts = {f"{account}.blob.core.windows.net" for account in settings.url_accounts}
    try:
        url = URL(text)
        fits = url.scheme == "https" and url.raw_host in hosts and url.explicit_port in (None, 443)
        plain = url.user is None and url.password is None and not url.fragment
    except ValueError:
        fits = plain = False
    if not hosts:
        raise _refused("Images are not fetched by their address here.", "Send the image itself.")
    if not (fits and plain):
        raise _refused(
            "Only https addresses of blobs in the accounts that were allowed are fetched.",
            "SLIPWAY_PROXY__URL_ACCOUNTS names them; or send the image itself.",
        )
    return url


async def fetch(session: aiohttp.ClientSession, url: URL, settings: ProxySettings) -> bytes:
    """The blob, within the bounds of size and time.

    Raises:
        BadRequest: ``url_not_readable`` or ``too_large``.
        Unavailable: ``url_unreachable``.
    """
    most = settings.max_body_mb << 20
    content = bytearray()
    try:
        async with asyncio.timeout(settings.url_seconds), session.get(url, allow_redirects=False) as answer:
            if answer.status != HTTPStatus.OK:
                raise BadRequest(
                    "url_not_readable", f"The storage account answered {answer.status} for '{url.path}'.",
                    "Give the address of a blob that exists and is public, or that has a SAS which is still valid.",
                )  # fmt: skip
            async for chunk in answer.content.iter_chunked(_CHUNK):
                content += chunk
                if len(content) > most:
                    raise BadRequest(
                        "too_large", f"'{url.path}' has more than {most} bytes.",
                        "Give a smaller image, or raise SLIPWAY_PROXY__MAX_BODY_MB.",
                        status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    )  # fmt: skip
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Unavailable(
            "url_unreachable", f"'{url.host}' did not give the image within {settings.url_seconds:g} s.",
            "Try again, or send the image itself.",
        ) from error  # fmt: skip
    return bytes(content)


def _refused(message: str, hint: str) -> BadRequest:
    return BadRequest("url_not_allowed", message, hint, status=HTTPStatus.FORBIDDEN)
