"""The steady stream: what it asks, what it counts, and how it ends."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from demo.client import Client
from demo.digits import Digit, load
from demo.load import Outcome, SteadyStream, Tally
from tests.hosts import until

DIGITS = load()[:5]


class App:
    """Answers classification requests as it is told."""

    def __init__(self) -> None:
        self.version = 1
        self.status = 200
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def classify(self, request: web.Request) -> web.Response:
        self.asked += 1
        await self.may_answer.wait()
        if self.status != 200:
            return web.json_response({"error": {"code": "x", "message": "no luck", "hint": ""}}, status=self.status)
        label = DIGITS[0].name
        found = {"model": "digits", "version": self.version, "predictions": [[{"label": label, "score": 0.9}]]}
        return web.json_response(found)


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
async def client(app: App) -> AsyncIterator[Client]:
    application = web.Application()
    application.router.add_post("/api/classify/digits", app.classify)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with aiohttp.ClientSession() as session:
        yield Client(session, f"http://127.0.0.1:{runner.addresses[0][1]}", "key")
    await runner.cleanup()


def _stream(client: Client, digits: list[Digit] = DIGITS) -> SteadyStream:
    return SteadyStream(client, "digits", digits, per_second=100)


async def _answered(stream: SteadyStream, count: int) -> None:
    await until(lambda: len(stream.tally.outcomes) >= count, what=f"{count} answers")


async def test_each_answer_is_counted_for_the_version_that_gave_it(client: Client, app: App) -> None:
    async with _stream(client) as stream:
        await _answered(stream, 5)
        app.version = 2
        await _answered(stream, len(stream.tally.outcomes) + 20)
    tally = stream.tally
    assert tally.by(1) >= 5
    assert tally.by(2) >= 1
    assert tally.by(1) + tally.by(2) == len(tally.outcomes) == app.asked
    assert tally.failed == ()


async def test_an_answer_is_right_where_it_names_the_digit(client: Client) -> None:
    async with _stream(client, [DIGITS[0], DIGITS[1]]) as stream:
        await _answered(stream, 4)
    assert {outcome.right for outcome in stream.tally.outcomes} == {True, False}


async def test_a_refusal_counts_as_failed_with_what_was_said(client: Client, app: App) -> None:
    app.status = 503
    async with _stream(client) as stream:
        await _answered(stream, 3)
    assert {outcome.failure for outcome in stream.tally.failed} == {"503: no luck"}
    assert len(stream.tally.failed) == len(stream.tally.outcomes)


async def test_it_goes_on_asking_while_answers_are_slow_and_awaits_them_at_its_end(client: Client, app: App) -> None:
    app.may_answer.clear()
    async with _stream(client) as stream:
        await until(lambda: app.asked >= 5, what="five requests")
        assert stream.tally.outcomes == ()
        asyncio.get_running_loop().call_later(0.1, app.may_answer.set)
    assert len(stream.tally.outcomes) == app.asked
    assert stream.tally.failed == ()


async def test_an_error_inside_ends_it_without_waiting(client: Client, app: App) -> None:
    app.may_answer.clear()
    with pytest.raises(RuntimeError, match="enough"):
        async with asyncio.timeout(20), _stream(client):
            raise RuntimeError("enough")
    app.may_answer.set()


async def test_a_server_that_is_gone_counts_as_failed() -> None:
    async with aiohttp.ClientSession() as session:
        stream = _stream(Client(session, "http://127.0.0.1:1", "key"))
        async with stream:
            await _answered(stream, 2)
    assert len(stream.tally.failed) == len(stream.tally.outcomes)


def test_median_and_longest_wait_are_of_all_outcomes() -> None:
    tally = Tally(tuple(Outcome(1, True, seconds) for seconds in (0.3, 0.1, 9.0)))
    assert (tally.median, tally.longest) == (0.3, 9.0)
    assert (Tally(()).median, Tally(()).longest) == (0.0, 0.0)
