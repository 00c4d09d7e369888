"""The adapter over an ARM stand-in of the test's own process."""

from collections.abc import Iterator
from contextlib import contextmanager

from azure.core.credentials import TokenCredential

from deployer.adapters.aks import AksCluster, container_service
from deployer.adapters.azure_pipeline import Patience
from deployer.settings import ClusterSettings
from tests.contract.aks_stand_in.arm import SUBSCRIPTION, Arm, FixedCredential

PATIENT = Patience(connect=30, read=30, total=60, retries=1, pause=0.0)


@contextmanager
def adapter(
    arm: Arm, patience: Patience = PATIENT, *, credential: TokenCredential | None = None, url: str | None = None,
    fallback_pools: tuple[str, ...] = (),
) -> Iterator[AksCluster]:  # fmt: skip
    """The adapter, with the stand-in's own token and address unless others are given."""
    settings = ClusterSettings(
        subscription_id=SUBSCRIPTION, resource_group="slipway", name="slipway", arm_url=url or arm.server.url,
        fallback_pools=fallback_pools,
    )  # fmt: skip
    signed = credential or FixedCredential(arm.token)
    with container_service(settings, signed, patience) as client:
        yield AksCluster(client, settings, signed)
