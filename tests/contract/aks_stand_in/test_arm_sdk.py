"""Azure's own management SDK drives the stand-in's ARM: what it sends is accepted, what it gets back it understands."""

import asyncio
import base64
import hmac
import io
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
from azure.core.credentials import AccessToken, TokenCredential
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.identity import DefaultAzureCredential, ManagedIdentityCredential
from azure.mgmt.containerservice import ContainerServiceClient
from azure.mgmt.containerservice.models import AgentPool

from localcloud.arm import (
    AKS_SERVER_APPLICATION_ID,
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
    port: int = 0

    async def __aenter__(self) -> "Arm":
        initial = Cluster(
            subscription_id=SUBSCRIPTION,
            resource_group="slipway",
            name="slipway",
            location="westeurope",
            kubernetes_version="1.36.2",
            disable_local_accounts=self.disable_local_accounts,
            pools={
                "system": Pool(
                    name="system", mode=Mode.SYSTEM, vm_size="Standard_D4s_v5", count=1, instances=(0,), next_instance=1
                ),
                "gpu": Pool(name="gpu", mode=Mode.USER, vm_size="Standard_NC4as_T4_v3", count=0),
            },
        )
        self.control = ControlPlane(ClusterStore(self.folder / "cluster.json"), initial, self.delays, max_gpu_nodes=4)
        self.identity = Identity(header="secret", signing_key="key", kubernetes_token="kube-token")
        self.server = ArmServer(self.control, self.identity, KubeconfigSource("http://127.0.0.1:1/", "kube-token"))
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


@pytest.fixture
async def arm(tmp_path: Path) -> AsyncIterator[Arm]:
    async with Arm(tmp_path) as running:
        yield running


@pytest.fixture
async def slow_arm(tmp_path: Path) -> AsyncIterator[Arm]:
    async with Arm(tmp_path, SLOW) as running:
        yield running


def put_count(client: ContainerServiceClient, count: int) -> Any:
    pool = client.agent_pools.get("slipway", "slipway", "gpu")
    assert pool.properties is not None
    pool.properties.count = count
    return client.agent_pools.begin_create_or_update("slipway", "slipway", "gpu", pool)


async def test_a_cluster_reads_as_the_sdk_models_it(arm: Arm) -> None:
    cluster = await arm.sdk(lambda client: client.managed_clusters.get("slipway", "slipway"))
    properties = cluster.properties
    assert properties is not None and properties.power_state is not None
    assert (cluster.name, cluster.location) == ("slipway", "westeurope")
    assert (properties.provisioning_state, properties.power_state.code) == ("Succeeded", "Running")
    assert [(pool.name, pool.count, pool.mode) for pool in properties.agent_pool_profiles or []] == [
        ("system", 1, "System"),
        ("gpu", 0, "User"),
    ]


async def test_clusters_are_listed_by_subscription_and_by_group(arm: Arm) -> None:
    def names(client: ContainerServiceClient) -> list[list[str | None]]:
        clusters = client.managed_clusters
        return [[c.name for c in clusters.list()], [c.name for c in clusters.list_by_resource_group("SLIPWAY")]]

    assert await arm.sdk(names) == [["slipway"], ["slipway"]]


async def test_a_pool_scales_and_its_machines_follow(arm: Arm) -> None:
    pool = await arm.sdk(lambda client: put_count(client, 2).result())
    assert (pool.properties.count, pool.properties.provisioning_state) == (2, "Succeeded")
    assert arm.infrastructure.seen[-1].pools["gpu"].instances == (0, 1)


async def test_machines_that_come_back_are_new_ones(arm: Arm) -> None:
    """A scale set numbers its instances on and on."""
    for count in (1, 0, 1):
        await arm.sdk(lambda client, count=count: put_count(client, count).result())  # type: ignore[misc]  # count bound
    assert arm.infrastructure.seen[-1].pools["gpu"].instances == (1,)


async def test_while_a_pool_scales_both_it_and_the_cluster_say_so(slow_arm: Arm) -> None:
    def states(client: ContainerServiceClient) -> tuple[Any, Any, Any]:
        put_count(client, 1)
        cluster, pool = (
            client.managed_clusters.get("slipway", "slipway"),
            client.agent_pools.get("slipway", "slipway", "gpu"),
        )
        assert cluster.properties is not None and pool.properties is not None
        return cluster.properties.provisioning_state, pool.properties.provisioning_state, pool.properties.count

    assert await slow_arm.sdk(states) == ("Updating", "Scaling", 1)


async def test_a_second_operation_is_refused_while_one_runs(slow_arm: Arm) -> None:
    def twice(client: ContainerServiceClient) -> None:
        put_count(client, 1)
        client.managed_clusters.begin_stop("slipway", "slipway")

    with pytest.raises(ResourceExistsError) as refused:
        await slow_arm.sdk(twice)
    assert refused.value.status_code == 409
    assert refused.value.error is not None and refused.value.error.code == "OperationNotAllowed"


async def test_stop_and_start_change_the_power_state(arm: Arm) -> None:
    def power(client: ContainerServiceClient) -> Any:
        properties = client.managed_clusters.get("slipway", "slipway").properties
        assert properties is not None and properties.power_state is not None
        return properties.power_state.code

    await arm.sdk(lambda client: client.managed_clusters.begin_stop("slipway", "slipway").result())
    assert await arm.sdk(power) == "Stopped"
    await arm.sdk(lambda client: client.managed_clusters.begin_start("slipway", "slipway").result())
    assert await arm.sdk(power) == "Running"


async def test_a_stopped_cluster_takes_nothing_but_a_start(arm: Arm) -> None:
    await arm.sdk(lambda client: client.managed_clusters.begin_stop("slipway", "slipway").result())
    with pytest.raises(ResourceExistsError, match="only start and delete"):
        await arm.sdk(lambda client: put_count(client, 1))


async def test_an_operation_resumes_from_its_token_in_another_client(tmp_path: Path) -> None:
    """Also when the stand-in itself was ended and started again meanwhile."""
    waiting = Delays(start=0, stop=0, scale_up=1.0, scale_down=0, node_join=0)
    async with Arm(tmp_path, waiting) as first:
        token = await first.sdk(lambda client: put_count(client, 1).continuation_token())
        port = first.server.port
    assert first.control.cluster.pools["gpu"].instances == ()
    async with Arm(tmp_path, waiting, port=port) as second:
        pool = await second.sdk(
            lambda client: client.agent_pools.begin_create_or_update(
                "slipway", "slipway", "gpu", AgentPool(), continuation_token=token
            ).result()
        )
        assert pool.properties is not None and pool.properties.count == 1
        assert second.infrastructure.seen[-1].pools["gpu"].instances == (0,)


async def test_a_cluster_that_was_starting_when_killed_starts_in_the_next_process(tmp_path: Path) -> None:
    async with Arm(tmp_path) as first:
        await first.sdk(lambda client: client.managed_clusters.begin_stop("slipway", "slipway").result())
    async with Arm(tmp_path, SLOW) as second:
        await second.sdk(lambda client: client.managed_clusters.begin_start("slipway", "slipway"))
    async with Arm(tmp_path, SLOW) as third:
        running = third.control.cluster.running_operation
        assert running is not None and running.kind == "Starting"
        assert third.infrastructure.seen == []


async def test_an_aborted_operation_is_canceled_and_frees_the_cluster(slow_arm: Arm) -> None:
    def abort(client: ContainerServiceClient) -> Any:
        scaling = put_count(client, 3)
        client.managed_clusters.begin_abort_latest_operation("slipway", "slipway").result()
        with pytest.raises(HttpResponseError, match=r"Canceled|aborted"):
            scaling.result()
        return client.agent_pools.get("slipway", "slipway", "gpu").properties

    properties = await slow_arm.sdk(abort)
    assert (properties.provisioning_state, properties.count) == ("Canceled", 0)
    assert slow_arm.control.cluster.running_operation is None


async def test_infrastructure_that_fails_fails_the_operation(arm: Arm) -> None:
    arm.infrastructure.failure = ProvisioningError("AllocationFailed", "No capacity for Standard_NC4as_T4_v3.")
    with pytest.raises(HttpResponseError, match="No capacity"):
        await arm.sdk(lambda client: put_count(client, 1).result())
    assert arm.control.cluster.pools["gpu"].provisioning_state == "Failed"


async def test_the_system_pool_cannot_go_to_0(arm: Arm) -> None:
    def shrink(client: ContainerServiceClient) -> None:
        client.agent_pools.begin_create_or_update("slipway", "slipway", "system", {"properties": {"count": 0}})

    with pytest.raises(HttpResponseError, match="at least 1 node"):
        await arm.sdk(shrink)


async def test_more_gpu_nodes_than_the_quota_are_refused(arm: Arm) -> None:
    with pytest.raises(HttpResponseError) as refused:
        await arm.sdk(lambda client: put_count(client, 5))
    assert refused.value.error is not None and refused.value.error.code == "ErrCode_InsufficientVCPUQuota"


@pytest.mark.parametrize(
    ("properties", "code"),
    [
        ({"count": "many"}, "InvalidParameter"),
        ({"count": -1}, "InvalidParameter"),
        ({"vmSize": "Standard_D2s_v5"}, "PropertyChangeNotAllowed"),
        ({"mode": "Loud"}, "InvalidParameter"),
    ],
)
async def test_a_pool_that_cannot_be_is_refused_and_stays(arm: Arm, properties: dict[str, object], code: str) -> None:
    before = arm.control.cluster
    with pytest.raises(HttpResponseError) as refused:
        await arm.sdk(
            lambda client: client.agent_pools.begin_create_or_update(
                "slipway", "slipway", "gpu", io.BytesIO(json.dumps({"properties": properties}).encode())
            )
        )
    assert refused.value.status_code == 400
    assert refused.value.error is not None and refused.value.error.code == code
    assert arm.control.cluster == before


async def test_a_pool_is_created_and_deleted(arm: Arm) -> None:
    def create(client: ContainerServiceClient) -> Any:
        body = {
            "properties": {
                "count": 1,
                "vmSize": "Standard_NC4as_T4_v3",
                "mode": "User",
                "nodeTaints": ["a=b:NoSchedule"],
            }
        }
        return client.agent_pools.begin_create_or_update(
            "slipway", "slipway", "spot", io.BytesIO(json.dumps(body).encode())
        ).result()

    created = await arm.sdk(create)
    assert (created.name, created.properties.node_taints) == ("spot", ["a=b:NoSchedule"])
    await arm.sdk(lambda client: client.agent_pools.begin_delete("slipway", "slipway", "spot").result())
    names = await arm.sdk(lambda client: [pool.name for pool in client.agent_pools.list("slipway", "slipway")])
    assert names == ["system", "gpu"]


async def test_a_stale_etag_is_refused(arm: Arm) -> None:
    from azure.core import MatchConditions
    from azure.core.exceptions import ResourceModifiedError

    def stale(client: ContainerServiceClient) -> None:
        pool = client.agent_pools.get("slipway", "slipway", "gpu")
        assert pool.properties is not None
        etag = pool.properties.e_tag
        put_count(client, 1).result()
        client.agent_pools.begin_create_or_update(
            "slipway", "slipway", "gpu", pool, etag=etag, match_condition=MatchConditions.IfNotModified
        )

    with pytest.raises(ResourceModifiedError):
        await arm.sdk(stale)


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda client: client.managed_clusters.get("slipway", "other"), "ResourceNotFound"),
        (lambda client: client.managed_clusters.get("elsewhere", "slipway"), "ResourceGroupNotFound"),
        (lambda client: client.agent_pools.get("slipway", "slipway", "none"), "ResourceNotFound"),
    ],
)
async def test_what_is_not_there_is_not_found(
    arm: Arm, call: Callable[[ContainerServiceClient], object], code: str
) -> None:
    with pytest.raises(ResourceNotFoundError) as missing:
        await arm.sdk(call)
    assert missing.value.error is not None and missing.value.error.code == code


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


async def test_kubeconfigs_name_the_server_and_how_to_sign_in(arm: Arm) -> None:
    def configs(client: ContainerServiceClient) -> tuple[Any, Any]:
        user = client.managed_clusters.list_cluster_user_credentials("slipway", "slipway", format="exec")
        admin = client.managed_clusters.list_cluster_admin_credentials("slipway", "slipway")
        assert user.kubeconfigs and admin.kubeconfigs
        assert user.kubeconfigs[0].value is not None and admin.kubeconfigs[0].value is not None
        return json.loads(bytes(user.kubeconfigs[0].value)), json.loads(bytes(admin.kubeconfigs[0].value))

    user, admin = await arm.sdk(configs)
    assert user["clusters"][0]["cluster"]["server"] == "http://127.0.0.1:1/"
    assert AKS_SERVER_APPLICATION_ID in user["users"][0]["user"]["exec"]["args"]
    assert admin["users"][0]["user"]["token"] == "kube-token"


async def test_disabled_local_accounts_give_no_admin_credentials(tmp_path: Path) -> None:
    async with Arm(tmp_path, disable_local_accounts=True) as arm:
        with pytest.raises(HttpResponseError, match="disable local accounts"):
            await arm.sdk(lambda client: client.managed_clusters.list_cluster_admin_credentials("slipway", "slipway"))


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
