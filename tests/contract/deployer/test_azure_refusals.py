"""Each of ARM's faults at each operation of the adapter: the code, the cause and the cure that a user is told.

The real SDK asks the real stand-in over HTTP; the faults are ordered there.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pytest
from azure.core.credentials import AccessToken
from azure.identity import CredentialUnavailableError

from deployer.adapters import aks, azure_errors, azure_refusals
from deployer.adapters.aks import AksCluster
from deployer.errors import AzureRefused
from deployer.http import failure
from deployer.ports import OperationState
from localcloud.arm import KNOWN, Does, Fault
from tests.contract.aks_stand_in.arm import SLOW, Arm, in_a_thread
from tests.contract.deployer.arm_adapter import PATIENT, adapter

HASTY = replace(PATIENT, read=0.3, retries=0)


@dataclass(frozen=True)
class Cloud:
    """The stand-in, whose one operation never ends, and adapters with more and less patience."""

    arm: Arm
    patient: AksCluster
    hasty: AksCluster
    token: str

    def adapter(self, fault: Fault) -> AksCluster:
        """The one that need not wait long for what the fault does."""
        return self.hasty if fault.does is Does.HANG else self.patient


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with (
        in_a_thread(Arm(tmp_path_factory.mktemp("arm"), SLOW)) as arm,
        adapter(arm) as patient,
        adapter(arm, HASTY) as hasty,
    ):
        yield Cloud(arm, patient, hasty, patient.begin_pool(2))


@pytest.fixture(autouse=True)
def no_faults(cloud: Cloud) -> Iterator[None]:
    yield
    cloud.arm.control.faults.clear()


@dataclass(frozen=True)
class Asked:
    """An operation of the adapter: the call at which it meets the fault, what the user reads of it, and its right."""

    call: str
    do: Callable[[AksCluster, str], object]
    what: str
    action: str


OPERATIONS = {
    "state": Asked("cluster.get", lambda it, _: it.state(), "look at cluster 'slipway'", "read"),
    "state-pool": Asked("pool.get", lambda it, _: it.state(), "look at pool 'gpu'", "agentPools/read"),
    "start": Asked("cluster.start", lambda it, _: it.begin_start(), "start cluster 'slipway'", "start/action"),
    "stop": Asked("cluster.stop", lambda it, _: it.begin_stop(), "stop cluster 'slipway'", "stop/action"),
    "pool": Asked("pool.put", lambda it, _: it.begin_pool(1), "scale pool 'gpu' to 1", "agentPools/write"),
    "pool-read": Asked("pool.get", lambda it, _: it.begin_pool(1), "scale pool 'gpu' to 1", "agentPools/read"),
    "operation": Asked(
        "operation.get", lambda it, token: it.operation("pool", token), "tell how far the operation 'pool' is", "read"
    ),
    "credentials": Asked(
        "cluster.user-credentials", lambda it, _: it.access(), "give the credentials of cluster 'slipway'",
        "listClusterUserCredential/action",
    ),
    "abort": Asked("cluster.abort", lambda it, _: it.abort("start"), "abort the operation 'start'", "abort/action"),
    "abort-pool": Asked("pool.abort", lambda it, _: it.abort("pool"), "abort the operation 'pool'", "agentPools/abort/action"),
}  # fmt: skip


@dataclass(frozen=True)
class Told:
    """What the user is told: our code, and words of cause and cure."""

    code: str
    cause: str
    cure: str


FAULTS = {
    "quota": Told("azure_quota", "quota of standardNCASv3_T4Family in westeurope .*4 needed, 0 left", "Usage . quotas"),
    "quota-exceeded": Told("azure_quota", "standardNCASv3_T4Family in westeurope .*4 needed, 8 used, 8 limit", "Usage . quotas"),
    "capacity": Told("azure_capacity", "no free Standard_NC4as_T4_v3 just now", "without zones or spot"),
    "zonal-capacity": Told("azure_capacity", "no free Standard_NC4as_T4_v3 just now", "without zones or spot"),
    "overconstrained": Told("azure_capacity", "no free Standard_NC4as_T4_v3 just now", "without zones or spot"),
    "nested-capacity": Told("azure_capacity", "no free Standard_NC4as_T4_v3 just now", "without zones or spot"),
    "sku": Told("azure_capacity", "Standard_NC4as_T4_v3 is not offered", "az vm list-skus"),
    "throttled": Told("azure_throttled", "no further requests for now, for 17 s", "tried again"),
    "conflict": Told("azure_busy", "another operation is under way", "when that has ended"),
    "etag": Told("azure_busy", "changed it at the same moment", "looked at anew"),
    "forbidden": Told("azure_forbidden", "lacks Microsoft.ContainerService/managedClusters/ACTION on /sub", "Give it 'Azure Kub"),
    "linked-forbidden": Told("azure_forbidden", "lacks Microsoft.Network/.*/join/action on .*/net ", "Network Contributor"),
    "policy": Told("azure_policy", "a policy forbids it .*no GPUs after hours", "as the policy says"),
    "lock": Told("azure_locked", "a lock forbids it", "az lock list"),
    "group-gone": Told("azure_not_found", "no resource group 'slipway'", "SLIPWAY_CLUSTER__RESOURCE_GROUP"),
    "cluster-gone": Told("azure_not_found", "no cluster 'slipway'", "SLIPWAY_CLUSTER__NAME"),
    "pool-gone": Told("azure_not_found", "no agent pool", "SLIPWAY_CLUSTER__GPU_POOL"),
    "failed-state": Told("azure_failed_state", "in a failed state", "az aks update"),
    "autoscaler": Told("azure_autoscaler", "autoscaler is in the way", "--disable-cluster-autoscaler"),
    "token": Told("azure_sign_in", "does not accept the token|could not sign in", "tenant"),
    "internal": Told("azure_error", "Azure itself failed .*InternalServerError", "azure.status"),
    "unavailable": Told("azure_error", "Azure itself failed .*ServiceUnavailable", "azure.status"),
    "gateway-timeout": Told("azure_timeout", "did not answer in time", "what it had accepted"),
    "preempted": Told("azure_aborted", "somebody aborted it", "begun anew"),
    "hang": Told("azure_timeout", "did not answer in time", "what it had accepted"),
    "cut": Told("azure_cut", "connection was cut", "what it had accepted"),
    "error": Told("azure_refused", "it refused .Teapot: short and stout", "Azure's words"),
}  # fmt: skip


def ordered(name: str, call: str) -> Fault:
    """The fault as it is ordered, for every request until it is taken back."""
    match name:
        case "hang":
            return Fault(on=call, does=Does.HANG, times=None, seconds=30)
        case "cut":
            return Fault(on=call, does=Does.CUT, times=None)
        case "error":
            return Fault(on=call, status=418, code="Teapot", message="short and stout", times=None)
        case _:
            return Fault.known(call, name, times=None)


def test_every_error_the_stand_in_knows_is_in_the_matrix() -> None:
    assert set(KNOWN) <= set(FAULTS)


def test_every_code_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
    sources = [
        Path(module.__file__ or "").read_text(encoding="utf-8") for module in (aks, azure_errors, azure_refusals)
    ]
    codes = {code for source in sources for code in re.findall(r"\bazure_[a-z_]+(?=[\":])", source)}
    assert codes >= {told.code for told in FAULTS.values()}
    assert {code for code in codes if f"`{code}`" not in page} == set()


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("name", FAULTS)
def test_a_refusal_tells_what_why_and_what_to_do(cloud: Cloud, name: str, operation: str) -> None:
    asked, told = OPERATIONS[operation], FAULTS[name]
    fault = ordered(name, asked.call)
    cloud.arm.control.faults.order(fault)
    if operation == "operation" and KNOWN.get(name) is not None and KNOWN[name].status == 404:
        # Azure has forgotten the operation: its end is not known, and the cluster tells what came of it.
        assert asked.do(cloud.patient, cloud.token) == OperationState(running=False)
        return
    with pytest.raises(AzureRefused) as refused:
        asked.do(cloud.adapter(fault), cloud.token)
    error = refused.value
    assert error.code == told.code
    assert error.message.startswith(f"Azure did not {asked.what}")
    assert re.search(told.cause.replace("ACTION", asked.action), error.message)
    assert re.search(told.cure, error.hint)
    assert "{" not in error.message
    assert failure(error).status == 503


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_answer_that_is_not_azures_is_told(cloud: Cloud, operation: str) -> None:
    """As of a proxy in between that answers with a page of its own."""
    asked = OPERATIONS[operation]
    cloud.arm.control.faults.order(Fault(on=asked.call, does=Does.GARBLE, times=None))
    with pytest.raises(AzureRefused, match=f"Azure did not {asked.what}") as refused:
        asked.do(cloud.patient, cloud.token)
    assert refused.value.code == "azure_garbled"


def test_the_missing_role_for_credentials_is_another_one(cloud: Cloud) -> None:
    cloud.arm.control.faults.order(Fault.known("cluster.user-credentials", "forbidden"))
    with pytest.raises(AzureRefused) as refused:
        cloud.patient.access()
    assert "'Azure Kubernetes Service Cluster User Role'" in refused.value.hint


@pytest.mark.parametrize("operation", ["state", "pool", "operation", "credentials"])
def test_a_short_pause_that_azure_asks_for_is_kept(cloud: Cloud, operation: str) -> None:
    asked = OPERATIONS[operation]
    fault = Fault.known(asked.call, "throttled").model_copy(update={"retry_after": 1})
    cloud.arm.control.faults.order(fault)
    if operation == "pool":  # it gets through, and is refused for what it is: the second operation at once
        with pytest.raises(AzureRefused, match="another operation"):
            asked.do(cloud.patient, cloud.token)
    else:
        asked.do(cloud.patient, cloud.token)
    assert cloud.arm.control.faults.pending == ()


def test_a_long_pause_is_not_slept_through_but_passed_on(cloud: Cloud) -> None:
    """One fault only: a second attempt would succeed, so there was none."""
    fault = Fault.known("cluster.get", "throttled").model_copy(update={"retry_after": 3600})
    cloud.arm.control.faults.order(fault)
    with pytest.raises(AzureRefused) as refused:
        cloud.patient.state()
    assert refused.value.retry_after == 3600
    assert failure(refused.value).headers["Retry-After"] == "3600"


def test_a_refusal_with_retry_after_is_not_repeated(cloud: Cloud) -> None:
    fault = Fault.known("cluster.start", "conflict").model_copy(update={"retry_after": 1})
    cloud.arm.control.faults.order(fault)
    cloud.arm.control.faults.order(Fault.known("cluster.start", "internal"))
    with pytest.raises(AzureRefused) as refused:
        cloud.patient.begin_start()
    assert refused.value.code == "azure_busy"


def test_a_passing_fault_of_azures_is_not_seen(cloud: Cloud) -> None:
    for name in ("internal", "unavailable", "gateway-timeout"):
        cloud.arm.control.faults.order(Fault.known("cluster.get", name))
        assert cloud.patient.state().busy


class Unavailable:
    """A credential for a machine that has none."""

    def get_token(self, *_scopes: str, **_options: object) -> AccessToken:
        raise CredentialUnavailableError("ManagedIdentityCredential authentication unavailable.\nMore lines.")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_without_an_identity_the_user_is_told_to_switch_one_on(cloud: Cloud, operation: str) -> None:
    with adapter(cloud.arm, credential=Unavailable()) as given, pytest.raises(AzureRefused) as refused:
        OPERATIONS[operation].do(given, cloud.token)
    assert refused.value.code == "azure_sign_in"
    assert "could not sign in (ManagedIdentityCredential authentication unavailable.)" in refused.value.message
    assert "AZURE_CLIENT_ID" in refused.value.hint


@pytest.mark.parametrize(
    "operation", sorted(OPERATIONS.keys() - {"operation"})
)  # whose token holds the address that is asked
def test_an_azure_that_is_not_there_is_told(cloud: Cloud, operation: str) -> None:
    with adapter(cloud.arm, HASTY, url="http://127.0.0.1:1") as given, pytest.raises(AzureRefused) as refused:
        OPERATIONS[operation].do(given, cloud.token)
    assert refused.value.code == "azure_unreachable"
    assert "SLIPWAY_CLUSTER__ARM_URL" in refused.value.hint


UNREADABLE = {
    "empty": "",
    "garbage": "garbled",
    "no-json": "Z2FyYmxlZA==",
    "of an older SDK, pickled": "gASVCgAAAAAAAACMBnBpY2tsZZQu",
    "without content": "eyJ2ZXJzaW9uIjogMSwgImRhdGEiOiB7fX0=",
    "of a newer SDK": "eyJ2ZXJzaW9uIjogMn0=",
}


@pytest.mark.parametrize("kind", ["start", "stop", "pool"])
@pytest.mark.parametrize("token", UNREADABLE.values(), ids=UNREADABLE)
def test_a_token_that_cannot_be_read_ends_the_operation_by_name(
    cloud: Cloud, token: str, kind: Literal["start", "stop", "pool"]
) -> None:
    """And begins nothing, as the SDK would without a token."""
    begun = cloud.arm.control.cluster.operations
    state = cloud.patient.operation(kind, token)
    assert cloud.arm.control.cluster.operations == begun
    assert not state.running
    assert state.failure is not None and state.failure.startswith("azure_operation_lost: ")


@pytest.mark.parametrize("operation", ["stop", "pool"])
def test_a_beginning_whose_answer_was_lost_is_not_begun_twice(tmp_path: Path, operation: str) -> None:
    """What Azure had accepted is seen at the next look."""
    asked = OPERATIONS[operation]
    with in_a_thread(Arm(tmp_path, SLOW)) as arm, adapter(arm) as given:
        arm.control.faults.order(Fault(on=asked.call, does=Does.CUT_AFTER))
        with pytest.raises(AzureRefused) as refused:
            asked.do(given, "")
        assert refused.value.code == "azure_cut"
        assert len(arm.control.cluster.operations) == 1
        assert given.state().busy
