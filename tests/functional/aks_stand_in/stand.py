"""The AKS stand-in as a process under test, and the plain HTTP calls the tests make to it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


class HttpError(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status


DEADLINE = 40.0
QUICK = ("--start-delay", "0.1", "--stop-delay", "0.1", "--scale-up-delay", "0.1", "--scale-down-delay", "0.1",
    "--node-join-delay", "0.1", "--back-off", "0.3", "--config-refresh", "0.3")  # fmt: skip
IMAGES = ("http", "root")
REPOSITORY = Path(__file__).parents[3]


def until(look: Callable[[], T | None], what: str, seconds: float = DEADLINE) -> T:
    """Looks again and again until something is seen."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(HttpError, urllib.error.URLError, KeyError, IndexError, TypeError, ConnectionError):
            if found := look():
                return found
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.05)


def fetch(url: str, *, method: str = "GET", body: object = None, headers: Mapping[str, str] | None = None) -> bytes:
    """One HTTP request; raises `HttpError`, or urllib's errors."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    content = {"Content-Type": "application/json"} if body is not None else {}
    request = urllib.request.Request(url, data, {**content, **(headers or {})}, method=method)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
            return bytes(response.read())
    except urllib.error.HTTPError as error:
        with error:
            raise HttpError(error.code, error.read().decode()) from None


class Stand:
    """One run of the stand-in over ``folder``; started again over the same folder, it goes on."""

    def __init__(
        self, folder: Path, storage: str, arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        images = folder / "images.json"
        program = [sys.executable, str(Path(__file__).with_name("http_image.py"))]
        known = [
            {"pattern": f"test/{name}:*", "entrypoint": program, "runs_as_root": name == "root"} for name in IMAGES
        ]
        images.write_text(json.dumps(known))
        ready = folder / "ready.json"
        ready.unlink(missing_ok=True)
        self._log = folder / "stand.log"
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "localcloud.aks", "--data", str(folder / "data"), "--ready-file", str(ready),
                 "--storage-connection-string", storage, "--images", str(images), *QUICK, *arguments],
                stdout=log, stderr=log, start_new_session=True, cwd=REPOSITORY, env={**os.environ, **(environment or {})},
            )  # fmt: skip
        try:
            until(lambda: ready.exists() or self.process.poll() is not None, "the stand-in is ready")
            assert self.process.poll() is None, self.log
            self.ready: dict[str, str] = json.loads(ready.read_text())
        except BaseException:
            self.end()
            raise

    @property
    def log(self) -> str:
        """What the process wrote."""
        return self._log.read_text()

    def end(self) -> int:
        """Ends it as its supervisor does; returns the exit status."""
        self.process.terminate()
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(5)

    def kill(self) -> None:
        """Ends it without a chance to clean up."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(5)

    def api(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        """A call to the Kubernetes API."""
        text = self.text(method, path, body, **headers)
        return json.loads(text) if text else None

    def text(self, method: str, path: str, body: object = None, **headers: str) -> str:
        """A call to the Kubernetes API that answers with text."""
        given = {"Authorization": f"Bearer {self.ready['kubernetes_token']}"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        return fetch(self.ready["kubernetes_url"] + path, method=method, body=body, headers=given).decode()

    def arm(self, method: str, path: str, body: object = None) -> Any:
        """A call to ARM about the cluster, with a token of the identity endpoint."""
        ready = self.ready
        asked = f"{ready['identity_endpoint']}?resource=https://management.azure.com&api-version=2019-08-01"
        token = json.loads(fetch(asked, headers={"X-IDENTITY-HEADER": ready["identity_header"]}))["access_token"]
        url = (
            f"{ready['arm_url']}/subscriptions/{ready['subscription_id']}/resourceGroups/{ready['resource_group']}/providers"
            f"/Microsoft.ContainerService/managedClusters/{ready['cluster_name']}{path}?api-version=2026-08-01"
        )
        text = fetch(url, method=method, body=body, headers={"Authorization": f"Bearer {token}"})
        return json.loads(text) if text else None

    def settled(self) -> None:
        """Waits until no operation is under way."""
        until(lambda: self.arm("GET", "")["properties"]["provisioningState"] == "Succeeded", "the operation has ended")

    def namespace(self, name: str) -> "Namespace":
        """Creates a namespace to work in."""
        self.api("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        until(lambda: self.api("GET", f"/api/v1/namespaces/{name}/serviceaccounts/default"), "the namespace is ready")
        return Namespace(self, name)

    def node_names(self) -> list[str]:
        """The nodes that are Ready."""
        nodes = self.api("GET", "/api/v1/nodes")["items"]
        return [n["metadata"]["name"] for n in nodes if condition(n, "Ready") == "True"]


class Namespace:
    """Objects of one namespace."""

    def __init__(self, stand: Stand, name: str) -> None:
        self.stand = stand
        self.name = name

    def create(self, kind: str, name: str, path: str, **content: object) -> Any:
        """Creates an object; ``path`` is like ``/api/v1`` and its plural."""
        root, _, plural = path.rpartition("/")
        version = root.removeprefix("/apis/").removeprefix("/api/")
        body = {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": self.name}, **content}
        return self.stand.api("POST", f"{root}/namespaces/{self.name}/{plural}", body)

    def pod(self, name: str, *args: str, image: str = "test/http:1", spec: object = None, **container: object) -> None:
        """Creates a pod of one container ``main`` on the system pool."""
        main = {"name": "main", "image": image, "args": list(args), **container}
        self.create(
            "Pod", name, "/api/v1/pods", spec={"containers": [main], **(spec if isinstance(spec, dict) else {})}
        )

    def deployment(
        self,
        name: str,
        *args: str,
        gpu: bool = True,
        image: str = "test/http:1",
        port_flag: bool = True,
        volumes: object = None,
        **container: object,
    ) -> None:
        """Creates a Deployment of one replica, on the GPU pool or on the system pool, and a Service of its port."""
        limits = {"resources": {"limits": {"nvidia.com/gpu": "1"}}} if gpu else {}
        flags = ["--port=8501", *args] if port_flag else list(args)
        named = [{"name": "http", "containerPort": 8501}]
        main = {"name": "main", "image": image, "args": flags, "ports": named, **limits, **container}
        spec: dict[str, object] = {"containers": [main], "nodeSelector": {"agentpool": "gpu" if gpu else "system"}}
        if volumes is not None:
            spec["volumes"] = volumes
        if gpu:
            spec["tolerations"] = [{"key": "sku", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"}]
        self.create(
            "Deployment",
            name,
            "/apis/apps/v1/deployments",
            spec={
                "replicas": 1,
                "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": {"app": name}}, "spec": spec},
            },
        )
        ports = [{"name": "http", "port": 80, "targetPort": "http"}]
        self.create(
            "Service",
            name,
            "/api/v1/services",
            spec={"type": "LoadBalancer", "selector": {"app": name}, "ports": ports},
        )

    def volume(self, name: str, source: dict[str, object]) -> None:
        """Creates a PersistentVolume and a claim bound to it."""
        spec: dict[str, object] = {"accessModes": ["ReadOnlyMany"], "storageClassName": ""}
        claim = {**spec, "volumeName": name, "resources": {"requests": {"storage": "1Gi"}}}
        self.create("PersistentVolumeClaim", name, "/api/v1/persistentvolumeclaims", spec=claim)
        volume = {**spec, "capacity": {"storage": "1Gi"}, "claimRef": {"namespace": self.name, "name": name}, **source}
        metadata = {"name": name}
        body = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": volume}
        self.stand.api("POST", "/api/v1/persistentvolumes", body)

    def blob_volume(self, container: str) -> None:
        """Creates a volume of a blob container, as the deployer does, and a claim bound to it."""
        attributes = {"protocol": "fuse2", "containerName": container}
        source = {"driver": "blob.csi.azure.com", "readOnly": True, "volumeHandle": container}
        self.volume(container, {"csi": {**source, "volumeAttributes": attributes}})

    def get(self, plural: str, name: str) -> Any:
        """An object of the core group."""
        return self.stand.api("GET", f"/api/v1/namespaces/{self.name}/{plural}/{name}")

    def pods(self) -> list[Any]:
        """All pods."""
        return list(self.stand.api("GET", f"/api/v1/namespaces/{self.name}/pods")["items"])

    def status(self, pod: str) -> Any:
        """The status of a pod's container."""
        return self.get("pods", pod)["status"]["containerStatuses"][0]

    def first(self, pod: str) -> Any:
        """The status of a pod's first init container."""
        return self.get("pods", pod)["status"]["initContainerStatuses"][0]

    def delete_pod(self, name: str, **options: object) -> None:
        """Deletes a pod."""
        self.stand.api("DELETE", f"/api/v1/namespaces/{self.name}/pods/{name}", options or None)

    def log(self, pod: str, query: str = "") -> str:
        """A container's log."""
        return self.stand.text("GET", f"/api/v1/namespaces/{self.name}/pods/{pod}/log{query}")

    def events(self, name: str) -> dict[str, str]:
        """The messages of an object's events by reason."""
        listed = self.stand.api("GET", f"/api/v1/namespaces/{self.name}/events")["items"]
        return {each["reason"]: each["message"] for each in listed if each["involvedObject"]["name"] == name}

    def address(self, service: str) -> str:
        """The URL of a Service at its load balancer."""

        def look() -> str:
            return str(self.get("services", service)["status"]["loadBalancer"]["ingress"][0]["ip"])

        return f"http://{until(look, f'{service} has an address')}"

    def answer(self, service: str) -> str:
        """What the Service answers, once it does."""
        url = self.address(service)
        return until(lambda: fetch(url).decode(), f"{service} answers at {url}")

    def gone(self, pod: str) -> bool:
        """Whether a pod is no longer there."""
        return all(each["metadata"]["name"] != pod for each in self.pods())


def condition(thing: Any, kind: str) -> str | None:
    """The status of one of an object's conditions."""
    found = {each["type"]: each["status"] for each in thing["status"].get("conditions") or []}
    return found.get(kind)


def processes(text: str) -> list[int]:
    """The processes with ``text`` in their command line; defunct ones do not count."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(OSError):
                if text.encode() in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
    return found


@contextlib.contextmanager
def running(folder: Path, storage: str, *arguments: str, **environment: str) -> Iterator[Stand]:
    """A stand-in that is ended, whatever happens."""
    stand = Stand(folder, storage, arguments, environment)
    try:
        yield stand
    finally:
        stand.end()
