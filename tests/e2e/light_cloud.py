"""A local cloud whose pods cost nothing and whose idle ladder takes seconds, so that a story may go down it hundreds of times."""

import asyncio
import io
import json
import sys
import zipfile
from pathlib import Path

from localcloud.cloud import REPOSITORY
from tests.e2e.cloud_user import Answer, Client

HALF = REPOSITORY.parent / "shared" / "tf_serving_testdata" / "saved_model_half_plus_two_cpu" / "00000123"
LADDER = {
    "SLIPWAY_SCHEDULE__TEARDOWN": "* * * * * *",
    "SLIPWAY_IDLE__AFTER_MINUTES": "0.02",
    "SLIPWAY_IDLE__POOL_AFTER_MINUTES": "0.02",
    "SLIPWAY_ROLLOUT__DRAIN_SECONDS": "3",
    "SLIPWAY_PROXY__ROUTE_CACHE_SECONDS": "1",
    "SLIPWAY_PRICES__PER_HOUR": '{"Standard_NC4as_T4_v3": 3600, "Standard_D4s_v5": 360}',
}
_DELAYS = ("--scale-up-delay", "1", "--scale-down-delay", "1", "--node-join-delay", "0.3", "--mount-cache", "0.3")
_QUESTION = b'{"instances": [1.0, 2.0, 5.0]}'
_COMMAND_SECONDS = 120


def light_pods(folder: Path) -> list[str]:
    """Arguments of the AKS stand-in by which every pod runs the model server that computes nothing."""
    server = [sys.executable, str(Path(__file__).with_name("light_server.py"))]
    image = {
        "pattern": "tensorflow/serving:*", "entrypoint": server, "programs": {"tensorflow_model_server": server},
        "honours_mounts": True, "runs_as_root": True,
    }  # fmt: skip
    path = folder / "images.json"
    path.write_text(json.dumps([image]))
    return ["--images", str(path), *_DELAYS]


def content(number: int) -> bytes:
    """A zipped SavedModel like all the others, of other bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(HALF.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(HALF).as_posix())
        archive.writestr("assets/number.txt", str(number))
    return buffer.getvalue()


async def predict(client: Client, model: str, *, wait: int = 0) -> Answer:
    """A prediction, held for so many seconds should the model sleep."""
    headers = {"Prefer": f"wait={wait}"} if wait else {}
    path = f"/api/v1/models/{model}:predict"
    return await client.ask("POST", path, _QUESTION, Content_Type="application/json", **headers)


async def empty(client: Client) -> None:
    """Waits until the GPU pool is at 0, and its operation at its end."""
    await client.until(
        client.cluster, lambda seen: seen["state"] == "pool" and seen["provisioning"] == "Succeeded", "an empty pool"
    )


async def slipway(data: Path, *arguments: str) -> str:
    """The command line's standard output."""
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("slipway")), "--data", str(data), *arguments, cwd=REPOSITORY,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_COMMAND_SECONDS):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, f"slipway {' '.join(arguments)}: {errors.decode()}{output.decode()}"
    return output.decode()
