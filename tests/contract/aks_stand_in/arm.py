"""The ARM stand-in as one process would run it, and Azure's own client against it."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from azure.core.credentials import AccessToken, TokenCredential
from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.mgmt.containerservice import ContainerServiceClient

from localcloud.arm import (
    ArmServer,
    Cluster,
    ClusterStore,
    ControlPlane,
    Delays,
    Identity,
    KubeconfigSource,
    Pool,
    ProvisioningError,
)
from localcloud.arm.model import Mode

SUBSCRIPTION = "00000000-0000-4000-8000-000000000042"
QUICK = Delays(start=0.05, stop=0.05, scale_up=0.05, scale_down=0.05, node_join=0.0)
SLOW = Delays(start=600, stop=600, scale_up=600, scale_down=600, node_join=600)
T = TypeVar("T")


class LoopbackBearer(SansIOHTTPPolicy[Any, Any]):
    """Signs requests with the credential's token; azure-core's own policy refuses plain http, even on loopback."""

    def __init__(self, credential: TokenCredential) -> None:
        self._credential = credential

    def on_request(self, request: PipelineRequest[Any]) -> None:
        token = self._credential.get_token("https://management.azure.com/.default").token
        request.http_request.headers["Authorization"] = f"Bearer {token}"


class FixedCredential:
    """A credential with one token."""

    def __init__(self, token: str) -> None:
        self._token = token

    def get_token(self, *_scopes: str, **_options: object) -> AccessToken:
        return AccessToken(self._token, 2**31)


@dataclass
class RecordingInfrastructure:
    """Remembers what it was asked to be; fails where told to."""

    seen: list[Cluster] = field(default_factory=list)
    failure: ProvisioningError | None = None

    async def converge(self, cluster: Cluster) -> None:
        self.seen.append(cluster)
        if self.failure is not None:
            raise self.failure


@dataclass
class Arm:
    """A listening ARM stand-in over a folder, as one process would run it."""

    folder: Path
    delays: Delays = QUICK
    infrastructure: RecordingInfrastructure = field(default_factory=RecordingInfrastructure)
    disable_local_accounts: bool = False
    entra: bool = True
    kubernetes_url: str = "http://127.0.0.1:1/"
    port: int = 0

    async def __aenter__(self) -> "Arm":
        initial = Cluster(
            subscription_id=SUBSCRIPTION,
            resource_group="slipway",
            name="slipway",
            location="westeurope",
            kubernetes_version="1.36.2",
            disable_local_accounts=self.disable_local_accounts,
            entra=self.entra,
            pools={
                "system": Pool(
                    name="system", mode=Mode.SYSTEM, vm_size="Standard_D4s_v5", count=1, instances=(0,), next_instance=1
                ),
                "gpu": Pool(name="gpu", mode=Mode.USER, vm_size="Standard_NC4as_T4_v3", count=0),
            },
        )
        self.control = ControlPlane(ClusterStore(self.folder / "cluster.json"), initial, self.delays, max_gpu_nodes=4)
        self.identity = Identity(header="secret", signing_key="key", kubernetes_token="kube-token")
        self.server = ArmServer(self.control, self.identity, KubeconfigSource(self.kubernetes_url, "kube-token"))
        await self.server.start("127.0.0.1", self.port)
        await self.control.run_on(self.infrastructure)
        self.token = self.identity.issue("https://management.azure.com")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.control.close()
        await self.server.stop()

    async def sdk(self, call: Callable[[ContainerServiceClient], T], token: str | None = None) -> T:
        """Runs ``call`` with the real client, in a thread, as a synchronous program would."""

        def run() -> T:
            credential = FixedCredential(self.token if token is None else token)
            with ContainerServiceClient(
                credential,
                SUBSCRIPTION,
                base_url=self.server.url,
                authentication_policy=LoopbackBearer(credential),
                polling_interval=0.05,
                retry_total=0,
            ) as client:
                return call(client)

        return await asyncio.to_thread(run)


def put_count(client: ContainerServiceClient, count: int) -> Any:
    pool = client.agent_pools.get("slipway", "slipway", "gpu")
    assert pool.properties is not None
    pool.properties.count = count
    return client.agent_pools.begin_create_or_update("slipway", "slipway", "gpu", pool)


@contextlib.contextmanager
def in_a_thread(arm: Arm) -> Iterator[Arm]:
    """Runs the stand-in beside a synchronous test."""
    started, ending = threading.Event(), asyncio.Event()
    failures: list[BaseException] = []
    loops: list[asyncio.AbstractEventLoop] = []

    async def live() -> None:
        loops.append(asyncio.get_running_loop())
        async with arm:
            started.set()
            await ending.wait()

    def run() -> None:
        try:
            asyncio.run(live())
        except BaseException as error:
            failures.append(error)
            raise
        finally:
            started.set()

    thread = threading.Thread(target=run, name="ARM stand-in")
    thread.start()
    started.wait(30)
    assert not failures, failures
    try:
        yield arm
    finally:
        loops[0].call_soon_threadsafe(ending.set)
        thread.join(30)
        assert not thread.is_alive()
