"""Tokens: what the identity endpoint issues, and what ARM accepts."""

import asyncio
import base64
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
)
from azure.identity import DefaultAzureCredential, ManagedIdentityCredential
from azure.mgmt.containerservice import ContainerServiceClient

from localcloud.arm import AKS_SERVER_APPLICATION_ID
from tests.contract.aks_stand_in.arm import SUBSCRIPTION, Arm


@pytest.mark.parametrize("token", ["", "nonsense", "e30.e30.e30"])
async def test_a_token_of_another_issuer_is_refused(arm: Arm, token: str) -> None:
    with pytest.raises(ClientAuthenticationError):
        await arm.sdk(lambda client: client.managed_clusters.get("slipway", "slipway"), token=token)


def web_token(key: str, **claims: object) -> str:
    """A JSON Web Token signed with HS256 (RFC 7515), made here by hand."""

    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).decode().rstrip("=")

    signed = f"{part(json.dumps({'alg': 'HS256'}).encode())}.{part(json.dumps(claims).encode())}"
    return f"{signed}.{part(hmac.digest(key.encode(), signed.encode(), 'sha256'))}"


async def test_only_a_token_that_is_signed_and_still_valid_is_accepted(arm: Arm) -> None:
    claims = {"aud": "https://management.azure.com", "exp": int(time.time()) + 600}

    def get(client: ContainerServiceClient) -> object:
        return client.managed_clusters.get("slipway", "slipway")

    await arm.sdk(get, token=web_token("key", **claims))
    with pytest.raises(ClientAuthenticationError, match="was not issued by"):
        await arm.sdk(get, token=web_token("another key", **claims))
    with pytest.raises(ClientAuthenticationError, match="expiry is in the past"):
        await arm.sdk(get, token=web_token("key", **{**claims, "exp": int(time.time()) - 1}))
    with pytest.raises(ClientAuthenticationError, match="expiry is in the past"):
        await arm.sdk(get, token=web_token("key", aud=claims["aud"]))


async def test_a_token_for_another_audience_is_refused(arm: Arm) -> None:
    token = arm.identity.issue("https://vault.azure.net")
    with pytest.raises(ClientAuthenticationError, match="wrong audience"):
        await arm.sdk(lambda client: client.managed_clusters.get("slipway", "slipway"), token=token)


async def test_a_request_without_a_token_or_api_version_is_refused(arm: Arm) -> None:
    url = f"{arm.server.url}/subscriptions/{SUBSCRIPTION}/providers/Microsoft.ContainerService/managedClusters"
    async with aiohttp.ClientSession() as session:
        async with session.get(url) as anonymous:
            assert anonymous.status == 401
            assert (await anonymous.json())["error"]["code"] == "AuthenticationFailed"
        async with session.get(url, headers={"Authorization": f"Bearer {arm.token}"}) as unversioned:
            assert unversioned.status == 400
            assert (await unversioned.json())["error"]["code"] == "MissingApiVersionParameter"


@pytest.mark.parametrize("credential", [DefaultAzureCredential, ManagedIdentityCredential])
async def test_azures_credentials_obtain_tokens_that_are_accepted(
    arm: Arm, monkeypatch: pytest.MonkeyPatch, credential: Callable[[], Any]
) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", arm.server.identity_endpoint)
    monkeypatch.setenv("IDENTITY_HEADER", arm.identity.header)

    def tokens() -> tuple[str, str]:
        with credential() as identity:
            return (
                identity.get_token("https://management.azure.com/.default").token,
                identity.get_token(f"{AKS_SERVER_APPLICATION_ID}/.default").token,
            )

    management, kubernetes = await asyncio.to_thread(tokens)
    assert kubernetes == "kube-token"
    cluster = await arm.sdk(lambda client: client.managed_clusters.get("slipway", "slipway"), token=management)
    assert cluster.name == "slipway"
    claims = json.loads(base64.urlsafe_b64decode(management.split(".")[1] + "=="))
    assert claims["aud"] == "https://management.azure.com"


@pytest.mark.parametrize(
    ("header", "query", "status"),
    [
        ("wrong", "resource=https://management.azure.com&api-version=2019-08-01", 401),
        ("secret", "resource=https://management.azure.com&api-version=2017-09-01", 400),
        ("secret", "resource=https://graph.microsoft.com&api-version=2019-08-01", 400),
    ],
)
async def test_the_identity_endpoint_says_why_it_gives_no_token(arm: Arm, header: str, query: str, status: int) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{arm.server.identity_endpoint}?{query}", headers={"X-IDENTITY-HEADER": header}) as answer,
    ):
        assert answer.status == status
        assert (await answer.json())["message"]
