"""What goes on while hosts are killed: uploads, clients of the model servers, and a look at what is visible to them."""

import asyncio
import contextlib
import hashlib
import json
import random
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import ContainerClient
from kubernetes.client import ApiException

from tests.e2e import small_models
from tests.e2e.cloud_user import Client

_ASK_SECONDS = 20.0
_PAUSE = 0.1
OPTIONS = b"gpus: 0\n"


@dataclass(frozen=True)
class Upload:
    """The ``number``-th upload of all, to one model; what it is by the model's name."""

    model: str
    number: int

    @property
    def mark(self) -> str:
        return f"upload {self.number}"

    def files(self, order: random.Random) -> list[tuple[str, bytes]]:
        """Blobs to be stored, in the order of a client that has none."""
        match self.model.partition("-")[0]:
            case "keras":
                return [(f"{self.model}.keras", small_models.constant(self.number))]
            case "zip":
                return [(f"{self.model}.zip", small_models.zipped(self.mark))]
            case _:
                files = list(small_models.half_plus_two(self.mark).items())
                order.shuffle(files)
                return [(f"{self.model}/{name}", content) for name, content in files]

    def options(self) -> str:
        """Where its options lie."""
        return f"{self.model}/slipway.yaml" if self.model.startswith("folder") else f"{self.model}.yaml"

    def made(self, servables: ContainerClient, version: int) -> bool:
        """Whether this version is made of this upload."""
        if self.model.startswith("keras"):
            golden = manifest(servables, self.model, version)["golden"][0]
            return all(row == [float(self.number)] for output in golden["outputs"].values() for row in output)
        stored = servables.download_blob(f"{self.model}/{version}/{small_models.MARK}").readall()
        return bytes(stored) == self.mark.encode()


@dataclass
class Asking:
    """Clients of the stable Services: one for each model, from its first answer on. ``lost``: requests that failed."""

    client: Client
    models: Sequence[str]
    answered: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)

    async def run(self, stop: asyncio.Event) -> None:
        """Asks until it is told to stop."""
        await asyncio.gather(*(self._ask(model, stop) for model in self.models))

    async def _ask(self, model: str, stop: asyncio.Event) -> None:
        while not stop.is_set():
            problem = await asyncio.to_thread(self._once, model)
            if problem is None:
                self.answered[model] += 1
            elif self.answered[model]:
                self.lost.append(f"{model}, after {self.answered[model]} answers: {problem}")
            await asyncio.sleep(_PAUSE)

    def _once(self, model: str) -> str | None:
        try:
            service = self.client.core.read_namespaced_service(f"tfs-{model}", "slipway")
            url = f"http://{service.spec.cluster_ip}:8501/v1/models/{model}:predict"
            asked = urllib.request.Request(url, b'{"inputs": [[1.0]]}', {"Content-Type": "application/json"})
            with urllib.request.urlopen(asked, timeout=_ASK_SECONDS) as answer:  # noqa: S310  (our own address)
                told = json.loads(answer.read())
        except ApiException as error:
            return f"no Service: {error.status}"
        except (OSError, ValueError) as error:
            return repr(error)
        return None if "outputs" in told else str(told)


@dataclass
class Watch:
    """Looks at the served container again and again: a version with a saved_model.pb must be whole."""

    servables: ContainerClient
    looks: int = 0
    seen: set[str] = field(default_factory=set)
    partial: list[str] = field(default_factory=list)

    async def run(self, stop: asyncio.Event) -> None:
        """Looks until it is told to stop."""
        while not stop.is_set():
            self.partial += await asyncio.to_thread(self._look)
            self.looks += 1
            await asyncio.sleep(_PAUSE)

    def _look(self) -> list[str]:
        sizes: dict[str, dict[str, int]] = {}
        for blob in self.servables.list_blobs():
            model, version, path = blob.name.split("/", 2)
            sizes.setdefault(f"{model}/{version}", {})[path] = int(blob.size)
        found = []
        for version, files in sizes.items():
            if "saved_model.pb" not in files:
                continue
            self.seen.add(version)
            with contextlib.suppress(ResourceNotFoundError):  # it is being deleted, saved_model.pb first
                told = json.loads(self.servables.download_blob(f"{version}/servable.json").readall())
                lacking = [name for name, file in told["files"].items() if files.get(name) != file["bytes"]]
                if lacking and self.servables.get_blob_client(f"{version}/saved_model.pb").exists():
                    found.append(f"{version} lacks {lacking}")
        return found


def manifest(servables: ContainerClient, model: str, version: int) -> dict[str, Any]:
    """A version's servable.json."""
    told: dict[str, Any] = json.loads(servables.download_blob(f"{model}/{version}/servable.json").readall())
    return told


def damaged(servables: ContainerClient, model: str, version: int) -> list[str]:
    """Files of a version that are not what its servable.json says."""
    told: Mapping[str, Mapping[str, Any]] = manifest(servables, model, version)["files"]
    return [
        name for name, file in told.items()
        if hashlib.sha256(servables.download_blob(f"{model}/{version}/{name}").readall()).hexdigest() != file["sha256"]
    ]  # fmt: skip


async def until(look: Callable[[], Awaitable[object]], *, seconds: float) -> bool:
    """Waits until there is something, for so long; whether there was."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not await look():
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(0.1)
    return True
