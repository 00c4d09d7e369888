"""The blob trigger against the real storage emulator: receipts, retries, the poison queue, the Event Grid webhook."""

import base64
import json

import aiohttp
import pytest
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueClient

from tests.hosts import HostProcess, StartHost, until

UPLOADED = """
@app.blob_trigger(arg_name="client", path="models/{name}", connection="AzureWebJobsStorage", source="EventGrid")
def uploaded(client: blob.BlobClient):
    record(name=client.blob_name, content=client.download_blob().readall().decode(), type=type(client).__module__)
"""
FAILING = """
@app.blob_trigger(arg_name="client", path="models/{name}", connection="AzureWebJobsStorage")
def uploaded(client: blob.BlobClient):
    record(name=client.blob_name)
    raise RuntimeError("the function's own words")
"""


@pytest.fixture
def blobs(azurite: str) -> BlobServiceClient:
    service = BlobServiceClient.from_connection_string(azurite)
    service.create_container("models")
    return service


def upload(blobs: BlobServiceClient, name: str, content: bytes = b"bytes", container: str = "models") -> str:
    blobs.get_blob_client(container, name).upload_blob(content, overwrite=True)
    return str(blobs.get_blob_client(container, name).get_blob_properties().etag)


async def webhook(
    host: HostProcess,
    body: object,
    *,
    event_type: str = "Notification",
    key: str | None = None,
    function: str = "uploaded",
) -> tuple[int, str]:
    query = {"functionName": f"Host.Functions.{function}", "code": key or host.ready["blobs_extension_key"]}
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{host.ready['url']}/runtime/webhooks/blobs",
            params=query,
            headers={"aeg-event-type": event_type},
            data=body if isinstance(body, bytes) else json.dumps(body),
        ) as answer,
    ):
        return answer.status, await answer.text()


async def test_a_blob_reaches_its_function_as_the_client_that_the_extension_makes(
    start_host: StartHost, blobs: BlobServiceClient
) -> None:
    """The parameter in the path matches across slashes."""
    host = await start_host(UPLOADED)
    upload(blobs, "cats/saved_model.pb", b"weights")
    assert await host.recorded(1) == [
        {"name": "cats/saved_model.pb", "content": "weights", "type": "azure.storage.blob._blob_client"}
    ]


async def test_an_input_stream_has_the_blobs_name_length_and_address(
    start_host: StartHost, blobs: BlobServiceClient
) -> None:
    host = await start_host("""
@app.blob_trigger(arg_name="stream", path="models/in/{name}.txt", connection="AzureWebJobsStorage")
async def streamed(stream: func.InputStream):
    record(name=stream.name, length=stream.length, uri=stream.uri, content=stream.read().decode(), meta=stream.metadata)
""")
    upload(blobs, "in/other.csv")
    upload(blobs, "in/letter.txt", b"hello")
    url = blobs.get_blob_client("models", "in/letter.txt").url
    assert await host.recorded(1) == [
        {"name": "models/in/letter.txt", "length": 5, "uri": url, "content": "hello", "meta": {}}
    ]


async def test_a_blob_is_handed_on_once_even_across_restarts_and_one_uploaded_meanwhile_is_found(
    start_host: StartHost, blobs: BlobServiceClient
) -> None:
    host = await start_host(UPLOADED)
    etag = upload(blobs, "first.keras")
    await host.recorded(1)
    assert await host.stop() == 0
    receipts = [blob.name for blob in blobs.get_container_client("azure-webjobs-hosts").list_blobs()]
    host_id = json.loads((host.folder / "data" / "host.json").read_text())["host_id"]
    quoted = etag if etag.startswith('"') else f'"{etag}"'
    assert receipts == [f"blobreceipts/{host_id}/Host.Functions.uploaded/{quoted}/models/first.keras"]

    upload(blobs, "while-down.keras")
    again = await start_host()
    await again.recorded(2)
    upload(blobs, "last.keras")  # by the time it has been handed on, a repetition of the others would have been, too
    assert [seen["name"] for seen in await again.recorded(3)] == ["first.keras", "while-down.keras", "last.keras"]


async def test_an_overwritten_blob_is_handed_on_again(start_host: StartHost, blobs: BlobServiceClient) -> None:
    host = await start_host(UPLOADED)
    upload(blobs, "cats.keras", b"one")
    await host.recorded(1)
    upload(blobs, "cats.keras", b"two")
    assert [seen["content"] for seen in await host.recorded(2)] == ["one", "two"]


async def test_a_blob_that_fails_five_times_ends_in_the_poison_queue(
    start_host: StartHost, blobs: BlobServiceClient, azurite: str
) -> None:
    host = await start_host(FAILING)
    etag = upload(blobs, "cats/broken.keras").strip('"')
    poison = QueueClient.from_connection_string(azurite, "webjobs-blobtrigger-poison")
    await until(lambda: "Moving message to queue 'webjobs-blobtrigger-poison'" in host.log, what="the last failure")
    assert await host.stop() == 0
    messages = list(poison.receive_messages())
    assert [json.loads(base64.b64decode(message.content)) for message in messages] == [
        {
            "Type": "BlobTrigger",
            "FunctionId": "Host.Functions.uploaded",
            "BlobType": "BlockBlob",
            "ContainerName": "models",
            "BlobName": "cats/broken.keras",
            "ETag": f'"{etag}"',
        }
    ]
    assert len(host.records) == 5
    assert "the function's own words" in host.log


async def test_the_webhook_runs_the_function_that_it_names(start_host: StartHost, blobs: BlobServiceClient) -> None:
    """The container is none that a scan looks at: only the event can have been the cause."""
    host = await start_host(UPLOADED)
    blobs.create_container("elsewhere")
    etag = upload(blobs, "a/cats.keras", b"by event", container="elsewhere")
    url = blobs.get_blob_client("elsewhere", "a/cats.keras").url
    event = {"data": {"api": "PutBlob", "url": url, "eTag": etag, "blobType": "BlockBlob"}}
    assert await webhook(host, [event]) == (202, "")
    assert (await host.recorded(1))[0]["content"] == "by event"


async def test_the_webhook_answers_the_validation_handshake(start_host: StartHost, blobs: BlobServiceClient) -> None:
    host = await start_host(UPLOADED)
    events = [{"eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": {"validationCode": "512d38b6"}}]
    status, answer = await webhook(host, events, event_type="SubscriptionValidation")
    assert (status, json.loads(answer)) == (200, {"validationResponse": "512d38b6"})


async def test_the_webhook_refuses_wrong_keys_and_what_is_no_event(
    start_host: StartHost, blobs: BlobServiceClient
) -> None:
    host = await start_host(UPLOADED)
    assert (await webhook(host, [], key="wrong"))[0] == 401
    assert (await webhook(host, [], key=host.ready["function_key"]))[0] == 401
    assert (await webhook(host, b"no json"))[0] == 400
    assert (await webhook(host, [{"data": {}}]))[0] == 400
    assert (await webhook(host, [{"data": {"url": "https://x/", "eTag": "1", "blobType": "BlockBlob"}}]))[0] == 400
    assert (await webhook(host, [], event_type="Surprise"))[0] == 400
    assert (await webhook(host, [{"data": {}}], event_type="SubscriptionValidation"))[0] == 400
    assert host.records == []


async def test_a_message_for_a_blob_that_is_gone_is_dropped(start_host: StartHost, blobs: BlobServiceClient) -> None:
    host = await start_host(UPLOADED)
    url = blobs.get_blob_client("models", "gone.keras").url
    event = {"data": {"api": "PutBlob", "url": url, "eTag": "0x1", "blobType": "BlockBlob"}}
    assert await webhook(host, event) == (202, "")
    await until(lambda: "models/gone.keras is gone" in host.log, what="the message to be dropped")
    assert host.records == []


async def test_no_more_blobs_are_worked_on_at_once_than_host_json_allows(
    start_host: StartHost, blobs: BlobServiceClient
) -> None:
    for number in range(4):
        upload(blobs, f"{number}.keras")
    host = await start_host(
        """
@app.blob_trigger(arg_name="client", path="models/{name}", connection="AzureWebJobsStorage")
def uploaded(client: blob.BlobClient):
    record(event="begin")
    time.sleep(0.2)
    record(event="end")
""",
        host_json={"extensions": {"blobs": {"maxDegreeOfParallelism": 1}}},
    )
    assert [seen["event"] for seen in await host.recorded(8)] == ["begin", "end"] * 4
