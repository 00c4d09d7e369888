"""The main job, through real HTTP and storage addresses: every process of the local cloud runs as `slipway up` runs it."""

import asyncio
import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from demo.digits import TRAINING, Digit, load, png
from tests.e2e.cloud_user import Answer, Client, StartCloud

UNSEEN = load()[TRAINING:]
SERVING_TESTDATA = Path(__file__).parents[3] / "shared" / "tf_serving_testdata"


def drop_digits(client: Client, digits: Path, which: str) -> None:
    client.drop("digits.labels.txt", (digits / which / "digits.labels.txt").read_bytes())
    client.drop("digits.keras", (digits / which / "digits.keras").read_bytes())


def best(answer: Answer) -> str:
    assert answer.status == 200, answer.body
    label: str = answer.body["predictions"][0][0]["label"]
    return label


async def accuracy(client: Client, digits: list[Digit]) -> float:
    right = [best(await client.classify("digits", png(digit))) == digit.name for digit in digits]
    return sum(right) / len(right)


async def stream(client: Client, image: bytes, answers: list[Answer], stop: asyncio.Event) -> None:
    """A client that keeps asking, one request after the other."""
    while not stop.is_set():
        answers.append(await client.classify("digits", image))
        await asyncio.sleep(0.05)


def gpu_nodes(client: Client) -> list[Any]:
    return list(client.core.list_node(label_selector="agentpool=gpu").items)


@pytest.mark.timeout(300)
async def test_a_dropped_model_serves_is_replaced_under_load_survives_a_bad_one_sleeps_and_wakes(
    start_cloud: StartCloud, digits: Path
) -> None:
    """The demo's steps, with an assertion on everything that they claim."""
    client = await start_cloud({"SLIPWAY_IDLE__AFTER_MINUTES": "0.25"}, gpu_nodes=2)
    image = png(UNSEEN[0])

    # A model that does not exist yet.
    assert (await client.classify("digits", image)).status == 404

    # Version 1, from a drop to named classes.
    drop_digits(client, digits, "v1")
    seen = await client.serves("digits", 1)
    first = await client.classify("digits", image)
    assert first.status == 200
    assert first.body["model"] == "digits"
    assert first.body["version"] == 1
    assert len(first.body["predictions"][0]) == 3
    assert 0 < first.body["predictions"][0][0]["score"] <= 1
    assert (await client.tagged("digits.keras", "serving"))["slipway_version"] == "1"
    stages = [stage["stage"] for stage in seen["timeline"]]
    assert stages[:3] == ["scan", "convert", "publish"]
    assert {"apply", "pods", "prove"} <= set(stages)
    servable = {blob.name for blob in client.container("servables").list_blobs()}
    assert {"digits/1/saved_model.pb", "digits/1/servable.json", "digits/1/variables/variables.index"} <= servable
    before = await accuracy(client, UNSEEN[:40])

    # Version 2 under load: no request fails, and the answers change hands once.
    answers: list[Answer] = []
    stop = asyncio.Event()
    load_test = asyncio.create_task(stream(client, image, answers, stop))
    drop_digits(client, digits, "v2")
    await client.serves("digits", 2)
    await asyncio.sleep(2)
    stop.set()
    await load_test
    assert [answer.body for answer in answers if answer.status != 200] == []
    versions = [answer.body["version"] for answer in answers]
    assert set(versions) == {1, 2}
    assert versions[-1] == 2
    assert await accuracy(client, UNSEEN[:40]) > before

    # What the cluster shows: one version's objects, the stable Service on it, a GPU taken.
    deployments = client.apps.list_namespaced_deployment("slipway").items
    assert [item.metadata.name for item in deployments] == ["tfs-digits-v2"]
    assert deployments[0].metadata.labels["app"] == "digits"
    assert deployments[0].metadata.labels["version"] == "v2"
    stable = client.core.read_namespaced_service("tfs-digits", "slipway")
    assert stable.spec.selector == {"app": "digits", "version": "v2"}
    pods = [pod for pod in client.core.list_namespaced_pod("slipway").items if not pod.metadata.deletion_timestamp]
    assert [pod.spec.containers[0].resources.limits["nvidia.com/gpu"] for pod in pods] == ["1"]
    assert pods[0].spec.node_name in {node.metadata.name for node in gpu_nodes(client)}

    # A broken file: refused with the reason; version 2 serves on.
    client.drop("digits.keras", (digits / "v1" / "digits.keras").read_bytes()[:1000])
    seen = await client.failed("digits")
    assert seen["version"] == 2
    assert "digits.keras" in seen["reason"]
    assert seen["hint"]
    await client.tagged("digits.keras", "failed")
    assert (await client.classify("digits", image)).body["version"] == 2

    # The same bytes as version 2 again: no third version.
    drop_digits(client, digits, "v2")
    seen = await client.serves("digits", 2)
    assert [item["version"] for item in seen["versions"]] == [1, 2]

    # Idle: the pods go, then the GPU pool, and its nodes with it.
    await client.until(
        client.cluster,
        lambda found: found["pool"]["count"] == 0 and found["provisioning"] == "Succeeded",
        "an empty pool",
    )
    assert (await client.model("digits"))["state"] == "asleep"
    assert gpu_nodes(client) == []
    assert client.apps.read_namespaced_deployment("tfs-digits-v2", "slipway").spec.replicas == 0
    assert {blob.name for blob in client.container("servables").list_blobs()} > servable  # the models stay

    # A request wakes it, once; the estimate is honest; a held request gets its answer.
    waking = await client.classify("digits", image)
    assert waking.status == 503
    assert waking.body["error"]["code"] == "waking"
    assert waking.body["error"]["eta_seconds"] >= 1
    assert int(waking.headers["Retry-After"]) == waking.body["error"]["eta_seconds"]
    held = await client.classify("digits", image, Prefer="wait=60")
    assert held.status == 200, held.body
    assert held.body["version"] == 2
    assert (await client.cluster())["pool"]["count"] == 1


@pytest.mark.timeout(300)
async def test_one_gpu_is_handed_over_and_a_version_that_cannot_start_gives_it_back(
    start_cloud: StartCloud, digits: Path
) -> None:
    """With a single GPU node the old version makes room; requests wait meanwhile, and none fails."""
    client = await start_cloud({"SLIPWAY_IDLE__ENABLED": "false"}, gpu_nodes=1)
    image = png(UNSEEN[1])
    drop_digits(client, digits, "v1")
    await client.serves("digits", 1)

    answers: list[Answer] = []
    stop = asyncio.Event()
    load_test = asyncio.create_task(stream(client, image, answers, stop))
    drop_digits(client, digits, "v2")
    await client.serves("digits", 2)
    stop.set()
    await load_test
    assert [answer.body for answer in answers if answer.status != 200] == []
    assert {answer.body["version"] for answer in answers} == {1, 2}

    # A SavedModel as a zip is a model like any other: of another name, on the CPU, for the GPU is taken.
    half = SERVING_TESTDATA / "saved_model_half_plus_two_cpu" / "00000123"
    client.drop("half.yaml", b"gpus: 0\n")
    client.drop("half.zip", zipped(half))
    seen = await client.serves("half", 1)
    assert "serving_default" in seen["versions"][0]["signatures"]
    refused = await client.classify("half", image)
    assert refused.status == 409
    assert refused.body["error"]["code"] == "no_classifier"
    names = {item["name"] for item in (await client.ask("GET", "/api/models")).body["models"]}
    assert names == {"digits", "half"}

    # As a tar archive, one folder down, with its options inside.
    client.drop("packed.tar.gz", tarred(half, {"slipway.yaml": b"gpus: 0\n"}))
    seen = await client.serves("packed", 1)
    assert "serving_default" in seen["versions"][0]["signatures"]

    # As a directory, whatever order its files come in.
    for path in sorted(half.rglob("*")):
        if path.is_file():
            client.drop(f"Half_Dir/{path.relative_to(half).as_posix()}", path.read_bytes())
    client.drop("Half_Dir/slipway.yaml", b"gpus: 0\n")
    await client.serves("half-dir", 1)


def tarred(folder: Path, more: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for name, content in {**files, **more}.items():
            member = tarfile.TarInfo(f"model/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def zipped(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder).as_posix())
    return buffer.getvalue()
