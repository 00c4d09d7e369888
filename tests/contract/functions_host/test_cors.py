"""Cross-origin requests, answered as the platform does for the origins that its setting names."""

import aiohttp
import pytest

from localcloud.functions_host.cors import cors
from localcloud.functions_host.errors import SettingError
from tests.hosts import StartHost

APP = """
@app.route(route="locked", methods=["POST"])
def locked(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("opened")
"""
ORIGIN = "https://app.example.com"
PREFLIGHT = {
    "Origin": ORIGIN, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-slipway-key",
}  # fmt: skip


async def test_only_origins_that_are_allowed_may_read_answers(start_host: StartHost) -> None:
    host = await start_host(
        APP, settings={"CORS_ALLOWED_ORIGINS": f'["{ORIGIN}/"]', "CORS_SUPPORT_CREDENTIALS": "true"}
    )
    url, key = f"{host.ready['url']}/api/locked", host.ready["function_key"]
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(30)) as session:
        async with session.options(url, headers=PREFLIGHT) as answer:
            assert answer.status == 204  # without a key: browsers send none here
            assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
            assert answer.headers["Access-Control-Allow-Methods"] == "POST"
            assert answer.headers["Access-Control-Allow-Headers"] == "x-slipway-key"
            assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        async with session.post(url, headers={"Origin": ORIGIN, "x-functions-key": key}) as answer:
            assert (await answer.text(), answer.headers["Access-Control-Allow-Origin"]) == ("opened", ORIGIN)
            assert answer.headers["Vary"] == "Origin"
        async with session.post(url, headers={"Origin": ORIGIN}) as answer:
            assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (401, ORIGIN)
        for headers in ({**PREFLIGHT, "Origin": "https://evil.example.com"}, {"x-functions-key": key}):
            async with session.post(url, headers=headers) as answer:
                assert "Access-Control-Allow-Origin" not in answer.headers


async def test_without_the_setting_no_origin_is_allowed(start_host: StartHost) -> None:
    host = await start_host(APP)
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(30)) as session,
        session.options(f"{host.ready['url']}/api/locked", headers=PREFLIGHT) as answer,
    ):
        assert answer.status == 404
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_the_settings_say_who_is_allowed() -> None:
    assert cors({}) is None
    assert cors({"CORS_ALLOWED_ORIGINS": "[]"}) is None
    allowed = cors({"CORS_ALLOWED_ORIGINS": '["*"]'})
    assert allowed is not None
    assert (allowed.origins, allowed.credentials) == (frozenset({"*"}), False)


@pytest.mark.parametrize("text", ["https://example.com", "{}", "[1]", "["])
def test_what_is_no_list_of_origins_is_named(text: str) -> None:
    with pytest.raises(SettingError, match="CORS_ALLOWED_ORIGINS must be a JSON list"):
        cors({"CORS_ALLOWED_ORIGINS": text})
