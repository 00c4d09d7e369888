"""Files of ConfigMaps, Secrets and the pod itself follow their sources, all at once."""

import json
from pathlib import Path
from typing import Any

from tests.functional.aks_stand_in.stand import Namespace, fetch, until


def test_a_changed_configmap_changes_the_files_of_running_pods(space: Namespace) -> None:
    space.create("ConfigMap", "settings", "/api/v1/configmaps", data={"a": "old", "gone": "x"})
    space.pod(
        "reads",
        "--show=/config/a",
        spec={"volumes": [{"name": "v", "configMap": {"name": "settings"}}]},
        volumeMounts=[{"name": "v", "mountPath": "/config"}],
        env=[{"name": "FOLDER", "value": "/config"}],
    )
    until(lambda: space.status("reads")["ready"], "it runs")
    url = f"http://{space.get('pods', 'reads')['status']['podIP']}:8080"
    assert until(lambda: fetch(url).decode(), "it answers") == "old"
    path = f"/api/v1/namespaces/{space.name}/configmaps/settings"
    merge = {"Content_Type": "application/merge-patch+json"}
    space.stand.api("PATCH", path, {"data": {"a": "new", "gone": None, "more": "y"}}, **merge)
    until(lambda: fetch(url) == b"new", "the file has changed")
    folder = Path(json.loads(fetch(f"{url}/env"))["FOLDER"])
    assert sorted(each.name for each in folder.iterdir() if not each.name.startswith("..")) == ["a", "more"]


def test_projected_volumes_and_the_downward_api_tell_of_the_pod(space: Namespace) -> None:
    space.create("ConfigMap", "settings", "/api/v1/configmaps", data={"a": "1"})
    sources: list[Any] = [
        {"configMap": {"name": "settings"}},
        {"downwardAPI": {"items": [{"path": "who/name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        {"serviceAccountToken": {"path": "token", "audience": "api://AzureADTokenExchange"}},
    ]
    env = [
        {"name": "CPUS", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        {"name": "MIB", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
        {"name": "HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
        {"name": "FOLDER", "value": "/here"},
    ]
    space.pod(
        "knows",
        "--show=/here/who/name",
        spec={"volumes": [{"name": "v", "projected": {"sources": sources}}]},
        volumeMounts=[{"name": "v", "mountPath": "/here"}],
        resources={"limits": {"cpu": "1500m", "memory": "256Mi"}},
        env=env,
    )
    until(lambda: space.status("knows")["ready"], "it runs")
    status = space.get("pods", "knows")["status"]
    url = f"http://{status['podIP']}:8080"
    assert until(lambda: fetch(url).decode(), "it answers") == "knows"
    seen = json.loads(fetch(f"{url}/env"))
    assert (seen["CPUS"], seen["MIB"], seen["HOST"]) == ("2", "256", status["hostIP"])
    assert (Path(seen["FOLDER"]) / "a").read_text() == "1"
    assert (Path(seen["FOLDER"]) / "token").is_file()
