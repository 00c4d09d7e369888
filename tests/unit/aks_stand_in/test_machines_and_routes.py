"""Nodes are described as AKS describes them; Services lead to ready endpoints."""

from pathlib import Path
from typing import Any

from localcloud.aks.machines import nodes
from localcloud.aks.service_addresses import ServiceAddresses
from localcloud.aks.service_routes import routes
from localcloud.arm import Cluster, Pool
from localcloud.arm.model import Mode, Power
from localcloud.kubelet import AddressPool


def cluster(*pools: Pool, power: Power = Power.RUNNING) -> Cluster:
    return Cluster(
        subscription_id="s",
        resource_group="g",
        name="c",
        location="westeurope",
        kubernetes_version="1.36.2",
        power=power,
        pools={pool.name: pool for pool in pools},
    )


GPU = Pool(
    name="gpu",
    mode=Mode.USER,
    vm_size="Standard_NC4as_T4_v3",
    count=2,
    instances=(3, 36),
    node_taints=("sku=gpu:NoSchedule",),
)
SYSTEM = Pool(name="system", mode=Mode.SYSTEM, vm_size="Standard_D4s_v5", count=1, instances=(0,))


def test_a_gpu_node_is_tainted_labelled_and_has_its_gpu() -> None:
    node = next(iter(nodes(cluster(GPU)).values()))
    assert node.taints == [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}]
    assert node.gpus == 1
    assert "nvidia.com/gpu" not in node.capacity  # before a device plugin tells of it
    expected = {
        "agentpool": "gpu",
        "kubernetes.azure.com/agentpool": "gpu",
        "kubernetes.azure.com/mode": "user",
        "accelerator": "nvidia",
        "node.kubernetes.io/instance-type": "Standard_NC4as_T4_v3",
    }
    assert expected.items() <= node.labels.items()


def test_a_system_node_has_neither_taint_nor_gpu() -> None:
    node = next(iter(nodes(cluster(SYSTEM)).values()))
    assert node.taints == []
    assert node.gpus == 0
    assert "accelerator" not in node.labels


def test_names_are_those_of_a_scale_set() -> None:
    """Six digits of base 36 after the scale set's name."""
    first, second = nodes(cluster(GPU))
    assert first.startswith("aks-gpu-")
    assert first.endswith("-vmss000003")
    assert second.endswith("-vmss000010")


def test_a_spot_pool_carries_its_own_taint() -> None:
    node = next(iter(nodes(cluster(GPU.model_copy(update={"scale_set_priority": "Spot"}))).values()))
    spot = {"key": "kubernetes.azure.com/scalesetpriority", "value": "spot", "effect": "NoSchedule"}
    assert spot in node.taints


def test_a_stopped_cluster_has_no_nodes() -> None:
    assert nodes(cluster(GPU, SYSTEM, power=Power.STOPPED)) == {}


def service(**spec: Any) -> Any:
    ports = [{"name": "http", "port": 8501}]
    return {"metadata": {"namespace": "n", "name": "s"}, "spec": {"clusterIP": "127.1.1.128", "ports": ports, **spec}}


def test_a_service_keeps_its_address_until_it_goes(tmp_path: Path) -> None:
    pool = AddressPool(["a", "b"])
    addresses = ServiceAddresses(pool, tmp_path / "addresses.json")
    assert [addresses.allocate(service()), addresses.allocate(service())] == ["a", "a"]
    addresses.gone(service())
    assert [pool.allocate(), pool.allocate()] == ["b", "a"]


def test_a_service_of_an_earlier_range_keeps_the_address_it_has(tmp_path: Path) -> None:
    pool = AddressPool(["a"])
    addresses = ServiceAddresses(pool, tmp_path / "addresses.json")
    addresses.seen(service(clusterIP="10.0.0.1"))
    addresses.gone(service(clusterIP="10.0.0.1"))
    assert pool.allocate() == "a"


def test_addresses_are_kept_across_a_restart_for_services_that_are_still_there(tmp_path: Path) -> None:
    file = tmp_path / "addresses.json"
    before = ServiceAddresses(AddressPool(["a", "b"]), file)
    before.allocate(service())
    other = service() | {"metadata": {"namespace": "n", "name": "other"}}
    before.allocate(other)
    pool = AddressPool(["a", "b"])
    after = ServiceAddresses(pool, file)
    after.seen(service(clusterIP="a"))
    after.all_seen()
    assert not pool.reserve("a")
    assert pool.reserve("b")


def endpoint_slice(*endpoints: tuple[str, bool], namespace: str = "n") -> Any:
    return {
        "metadata": {"namespace": namespace, "labels": {"kubernetes.io/service-name": "s"}},
        "ports": [{"name": "http", "port": 80}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": ready}} for address, ready in endpoints],
    }


def test_a_service_leads_to_its_ready_endpoints() -> None:
    found = routes([service()], [endpoint_slice(("127.1.1.10", True), ("127.1.1.11", False))])
    assert found == {("127.1.1.128", 8501): [("127.1.1.10", 80)]}


def test_a_load_balancers_address_leads_there_too() -> None:
    balanced = service() | {"status": {"loadBalancer": {"ingress": [{"ip": "127.1.1.200"}]}}}
    assert set(routes([balanced], [endpoint_slice(("127.1.1.10", True))])) == {
        ("127.1.1.128", 8501),
        ("127.1.1.200", 8501),
    }


def test_without_a_ready_endpoint_there_is_no_route() -> None:
    assert routes([service()], [endpoint_slice(("127.1.1.10", False))]) == {}
    assert routes([service()], []) == {}


def test_endpoints_of_another_namespace_port_or_protocol_do_not_count() -> None:
    ready = ("127.1.1.10", True)
    assert routes([service()], [endpoint_slice(ready, namespace="other")]) == {}
    assert routes([service(ports=[{"name": "grpc", "port": 8500}])], [endpoint_slice(ready)]) == {}
    assert routes([service(ports=[{"name": "http", "port": 1, "protocol": "UDP"}])], [endpoint_slice(ready)]) == {}


def test_a_headless_service_has_no_address() -> None:
    assert routes([service(clusterIP="None")], [endpoint_slice(("127.1.1.10", True))]) == {}
