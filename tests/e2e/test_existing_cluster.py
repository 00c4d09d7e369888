"""A cluster that the app knows by its kubeconfig alone, with KServe on it: the whole way, without Azure Resource Manager."""

from pathlib import Path

import pytest

from demo.digits import TRAINING, load, png
from tests.contract.deployer.real_rollouts import write_kubeconfig
from tests.e2e.cloud_user import StartCloud

IMAGE = png(load()[TRAINING])
NO_AZURE = {
    "SLIPWAY_CLUSTER__SUBSCRIPTION_ID": "", "SLIPWAY_CLUSTER__RESOURCE_GROUP": "", "SLIPWAY_CLUSTER__NAME": "",
    "SLIPWAY_CLUSTER__ARM_URL": "http://127.0.0.1:9",  # nobody is there
}  # fmt: skip


@pytest.mark.timeout(300)
async def test_a_model_is_served_by_kserve_sleeps_and_wakes_on_a_cluster_of_a_kubeconfig(
    start_cloud: StartCloud, digits: Path, tmp_path: Path
) -> None:
    config = tmp_path / "kubeconfig"
    client = await start_cloud(
        {
            **NO_AZURE, "SLIPWAY_CLUSTER__KUBECONFIG": str(config), "SLIPWAY_SERVING__FLAVOR": "kserve",
            "SLIPWAY_IDLE__AFTER_MINUTES": "0.2",
        },
        aks_arguments=("--kserve",),
    )  # fmt: skip
    write_kubeconfig(config, client.kubernetes_url, client.kubernetes_token)  # it is read when it is first needed
    client.drop("digits.labels.txt", (digits / "v1" / "digits.labels.txt").read_bytes())
    client.drop("digits.keras", (digits / "v1" / "digits.keras").read_bytes())
    await client.serves("digits", 1)
    answer = await client.classify("digits", IMAGE)
    assert answer.status == 200, answer.body
    cluster = await client.cluster()
    assert (cluster["power"], cluster["provisioning"], cluster["pool"]) == ("Running", "Existing", None)
    predictors = client.apps.list_namespaced_deployment("slipway").items
    assert [item.metadata.name for item in predictors] == ["tfs-digits-v1-predictor"]

    await client.until(client.cluster, lambda seen: seen["state"] == "pods", "the model sleeps")
    assert (await client.classify("digits", IMAGE)).status == 503
    assert (await client.classify("digits", IMAGE, Prefer="wait=60")).status == 200
