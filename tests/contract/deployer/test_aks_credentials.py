"""How the Kubernetes API is reached: by an Entra token, with local accounts disabled or not, or as a kubeconfig says."""

from pathlib import Path

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import ManagedIdentityCredential

from deployer.errors import AzureRefused
from localcloud.arm import AKS_SERVER_APPLICATION_ID, Fault
from tests.contract.aks_stand_in.arm import Arm, in_a_thread
from tests.contract.deployer.arm_adapter import adapter


class Signing:
    """A credential that remembers what it was asked for."""

    def __init__(self, arm: Arm) -> None:
        self._arm = arm
        self.scopes: list[str] = []

    def get_token(self, *scopes: str, **_options: object) -> AccessToken:
        self.scopes += scopes
        return AccessToken(self._arm.token if "management" in scopes[0] else f"entra-{len(self.scopes)}", 2**31)


class Refused(Signing):
    """Gets tokens for Azure Resource Manager, and none for the Kubernetes API."""

    def get_token(self, *scopes: str, **options: object) -> AccessToken:
        if AKS_SERVER_APPLICATION_ID in scopes[0]:
            raise ClientAuthenticationError("AADSTS500011: The resource principal was not found in the tenant.")
        return super().get_token(*scopes, **options)


@pytest.mark.parametrize("disabled", [False, True])
def test_entra_signs_in_whether_or_not_there_are_local_accounts(tmp_path: Path, disabled: bool) -> None:
    """The token is asked for with each request, of the application that every AKS cluster is."""
    with in_a_thread(Arm(tmp_path, disable_local_accounts=disabled)) as arm:
        credential = Signing(arm)
        with adapter(arm, credential=credential) as aks:
            access = aks.access()
        assert access.server == "http://127.0.0.1:1/"
        assert access.token is not None
        first, second = access.token(), access.token()
    assert first.startswith("entra-") and second.startswith("entra-") and first != second
    assert credential.scopes[-1] == f"{AKS_SERVER_APPLICATION_ID}/.default"


def test_without_entra_the_kubeconfigs_own_token_is_used(tmp_path: Path) -> None:
    with in_a_thread(Arm(tmp_path, entra=False)) as arm, adapter(arm) as aks:
        access = aks.access()
    assert access.token is not None
    assert access.token() == "kube-token"


def test_a_token_for_kubernetes_that_is_not_given_is_told(tmp_path: Path) -> None:
    with in_a_thread(Arm(tmp_path)) as arm, adapter(arm, credential=Refused(arm)) as aks:
        access = aks.access()
        assert access.token is not None
        with pytest.raises(
            AzureRefused, match=r"token for the Kubernetes API of cluster 'slipway'.*AADSTS500011"
        ) as told:
            access.token()
    assert told.value.code == "azure_sign_in"


@pytest.mark.parametrize(
    ("url", "told"), [("", "has no server"), ("http://10.0.0.4:8080", "a token must not travel over plain http")]
)
def test_a_kubeconfig_of_no_use_is_told(tmp_path: Path, url: str, told: str) -> None:
    with (
        in_a_thread(Arm(tmp_path, kubernetes_url=url)) as arm,
        adapter(arm) as aks,
        pytest.raises(AzureRefused) as refused,
    ):
        aks.access()
    assert refused.value.code == "no_credentials"
    assert refused.value.message.startswith(
        "Azure did not give the credentials of cluster 'slipway': cluster 'slipway'"
    )
    assert told in refused.value.message


def test_an_identity_endpoint_that_gives_no_token_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the managed identity was switched off: the unchanged credential, and what its endpoint says."""
    with in_a_thread(Arm(tmp_path)) as arm:
        monkeypatch.setenv("IDENTITY_ENDPOINT", arm.server.identity_endpoint)
        monkeypatch.setenv("IDENTITY_HEADER", arm.identity.header)
        fault = Fault(on="identity.token", status=400, message="No managed identity found for this app.")
        arm.control.faults.order(fault)
        with ManagedIdentityCredential() as credential, adapter(arm, credential=credential) as aks:
            with pytest.raises(
                AzureRefused, match="look at cluster 'slipway': Slipway's identity could not sign in"
            ) as told:
                aks.state()
            assert aks.state().power == "Running"
    assert told.value.code == "azure_sign_in"
    assert "No managed identity found" in told.value.message
