"""The queue trigger against the real storage emulator: encoding, retries, the poison queue, the way down."""

import base64
from collections.abc import Callable

import pytest
from azure.storage.queue import QueueClient

from tests.hosts import StartHost, until

ACCEPTING = """
@app.queue_trigger(arg_name="message", queue_name="rollouts", connection="AzureWebJobsStorage")
async def advance(message: func.QueueMessage):
    record(body=message.get_body().decode(), count=message.dequeue_count, inserted=message.insertion_time.isoformat())
"""
FAILING = """
@app.queue_trigger(arg_name="message", queue_name="rollouts", connection="AzureWebJobsStorage")
def advance(message: func.QueueMessage):
    record(count=message.dequeue_count)
    if message.dequeue_count < int(os.environ.get("SUCCEEDS_AT", "99")):
        raise RuntimeError("not yet")
"""
SLOW = """
@app.queue_trigger(arg_name="message", queue_name="rollouts", connection="AzureWebJobsStorage")
def advance(message: func.QueueMessage):
    record(count=message.dequeue_count)
    time.sleep(0 if message.dequeue_count > 1 else 600)
"""


@pytest.fixture
def rollouts(azurite: str) -> QueueClient:
    queue = QueueClient.from_connection_string(azurite, "rollouts")
    queue.create_queue()
    return queue


def in_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def is_empty(queue: QueueClient) -> Callable[[], bool]:
    """Neither visible messages nor invisible ones."""
    return lambda: queue.get_queue_properties().approximate_message_count == 0


async def test_a_message_is_decoded_handled_and_deleted(start_host: StartHost, rollouts: QueueClient) -> None:
    host = await start_host(ACCEPTING)
    sent = rollouts.send_message(in_base64('{"model": "käse"}'))
    assert sent.inserted_on is not None
    assert await host.recorded(1) == [
        {"body": '{"model": "käse"}', "count": 1, "inserted": sent.inserted_on.isoformat()}
    ]
    await until(is_empty(rollouts), what="the message to be deleted")


async def test_a_queue_that_does_not_exist_yet_is_waited_for(start_host: StartHost, azurite: str) -> None:
    host = await start_host(ACCEPTING)
    queue = QueueClient.from_connection_string(azurite, "rollouts")
    queue.create_queue()
    queue.send_message(in_base64("late"))
    assert (await host.recorded(1))[0]["body"] == "late"


async def test_a_failed_message_is_tried_again(start_host: StartHost, rollouts: QueueClient) -> None:
    host = await start_host(FAILING, settings={"SUCCEEDS_AT": "3"})
    rollouts.send_message(in_base64("look"))
    assert await host.recorded(3) == [{"count": 1}, {"count": 2}, {"count": 3}]
    await until(is_empty(rollouts), what="the message to be deleted")


async def test_a_message_that_fails_as_often_as_host_json_says_ends_in_the_poison_queue(
    start_host: StartHost, rollouts: QueueClient, azurite: str
) -> None:
    host = await start_host(FAILING, host_json={"extensions": {"queues": {"maxDequeueCount": 2}}})
    rollouts.send_message(in_base64("look"))
    await until(lambda: "Moving message to queue 'rollouts-poison'" in host.log, what="the last failure")
    await until(is_empty(rollouts), what="the message to be deleted")
    poison = QueueClient.from_connection_string(azurite, "rollouts-poison")
    assert [message.content for message in poison.receive_messages()] == [in_base64("look")]
    assert host.records == [{"count": 1}, {"count": 2}]


async def test_a_message_that_is_not_base64_goes_to_the_poison_queue_untried(
    start_host: StartHost, rollouts: QueueClient, azurite: str
) -> None:
    host = await start_host(ACCEPTING)
    rollouts.send_message("plain <text>")
    await until(is_empty(rollouts), what="the message to be moved")
    poison = QueueClient.from_connection_string(azurite, "rollouts-poison")
    assert [message.content for message in poison.receive_messages()] == ["plain <text>"]
    assert host.records == []
    assert "is not base64" in host.log


async def test_host_json_can_say_that_messages_are_plain_text(start_host: StartHost, rollouts: QueueClient) -> None:
    host = await start_host(ACCEPTING, host_json={"extensions": {"queues": {"messageEncoding": "none"}}})
    rollouts.send_message("plain <text>")
    assert (await host.recorded(1))[0]["body"] == "plain <text>"


async def test_a_setting_overrides_host_json(start_host: StartHost, rollouts: QueueClient) -> None:
    host = await start_host(ACCEPTING, settings={"AzureFunctionsJobHost__extensions__queues__messageEncoding": "none"})
    rollouts.send_message("plain")
    assert (await host.recorded(1))[0]["body"] == "plain"


async def test_what_is_unfinished_when_the_host_ends_is_given_back(
    start_host: StartHost, rollouts: QueueClient
) -> None:
    """Long before it would become visible by itself. The host does not wait for the thread; its status is still 0."""
    host = await start_host(SLOW, arguments=["--grace-seconds", "0.2", "--queue-hidden-seconds", "600"])
    rollouts.send_message(in_base64("look"))
    await host.recorded(1)
    assert await host.stop() == 0
    again = await start_host()
    assert await again.recorded(2) == [{"count": 1}, {"count": 2}]


async def test_a_message_stays_hidden_for_as_long_as_its_function_runs(
    start_host: StartHost, rollouts: QueueClient
) -> None:
    """Three times as long as it is hidden at first."""
    host = await start_host(
        ACCEPTING.replace("    record", "    await asyncio.sleep(3)\n    record"),
        arguments=["--queue-hidden-seconds", "1"],
    )
    rollouts.send_message(in_base64("look"))
    await host.recorded(1)
    await until(is_empty(rollouts), what="the message to be deleted")
    assert [record["count"] for record in host.records] == [1]


async def test_a_message_of_a_host_that_was_killed_comes_back_to_the_next(
    start_host: StartHost, rollouts: QueueClient
) -> None:
    host = await start_host(SLOW, arguments=["--queue-hidden-seconds", "1"])
    rollouts.send_message(in_base64("look"))
    await host.recorded(1)
    host.process.kill()
    await host.process.wait()
    (host.folder / "ready.json").unlink()
    again = await start_host()
    assert await again.recorded(2) == [{"count": 1}, {"count": 2}]


async def test_a_function_that_exceeds_the_function_timeout_has_failed(
    start_host: StartHost, rollouts: QueueClient
) -> None:
    host = await start_host(
        SLOW.replace("def advance", "async def advance").replace("time.sleep", "await asyncio.sleep"),
        host_json={"functionTimeout": "00:00:01"},
    )
    rollouts.send_message(in_base64("look"))
    assert await host.recorded(2) == [{"count": 1}, {"count": 2}]
    assert "Timeout value of 1.0 s exceeded" in host.log


async def test_a_function_that_returns_something_without_a_binding_for_it_has_failed(
    start_host: StartHost, rollouts: QueueClient
) -> None:
    host = await start_host(ACCEPTING + "    return 'surprise'\n")
    rollouts.send_message(in_base64("look"))
    await host.recorded(2)
    assert "without a $return binding returned a non-None value" in host.log
