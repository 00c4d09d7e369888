"""Every template as it stands, and everyday kubectl on what it makes, against the stand-in with KServe installed.

Only the image is another: one that the stand-in runs as a small HTTP server, for there is no model "example".
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.contract.deployer.aks_process import AksProcess, until

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed on this machine")

FOLDER = Path(__file__).parents[3] / "k8s_templates"
KEPT = ("namespace", "gpu-device-plugin")  # the stand-in has the plugin from its start
FILES = (*KEPT, "version", "stable-service", "autoscaler", "kserve", "export-job")
_SECONDS = 120.0


class Kubectl:
    """Runs kubectl on the cluster with a home of its own; ``templates`` are the product's with an image that can be had."""

    def __init__(self, server: str, home: Path) -> None:
        self._server = server
        self._home = home
        self.templates = home / "templates"
        self.templates.mkdir()
        for name in FILES:
            text = (FOLDER / f"{name}.yaml").read_text()
            (self.templates / f"{name}.yaml").write_text(
                text.replace("tensorflow/serving:2.20.0-gpu", "test/serving:1")
            )

    def __call__(self, *arguments: str) -> str:
        """Returns what it printed; fails where kubectl does."""
        done = subprocess.run(
            ["kubectl", "--server", self._server, *arguments], timeout=_SECONDS, check=False, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={"HOME": str(self._home), "PATH": os.environ["PATH"]},
        )  # fmt: skip
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stdout}"
        return done.stdout

    def apply(self, name: str, *options: str) -> str:
        """Applies one template."""
        return self("apply", *options, "-f", str(self.templates / f"{name}.yaml"))


@pytest.fixture
def kubectl(kserve_cluster: AksProcess, tmp_path: Path) -> Iterator[Kubectl]:
    """What a test applied of a model is gone afterwards."""
    made = Kubectl(kserve_cluster.ready["kubectl_url"], tmp_path)
    made.apply("namespace")
    yield made
    for name in [name for name in reversed(FILES) if name not in KEPT]:
        made("delete", "--ignore-not-found", "--timeout=60s", "-f", str(made.templates / f"{name}.yaml"))
    until(lambda: "No resources found" in made("-n", "slipway", "get", "pods"), "no pod is left")


def objects(name: str) -> int:
    return len(list(yaml.safe_load_all((FOLDER / f"{name}.yaml").read_text())))


def test_every_template_is_known_here() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_template_is_applied_by_either_kind_of_apply(kubectl: Kubectl, name: str) -> None:
    assert kubectl.apply(name, "--dry-run=server").count("(server dry run)") == objects(name)
    assert len(re.findall(r" (?:created|configured|unchanged)$", kubectl.apply(name), re.MULTILINE)) == objects(name)
    # kubectl says "configured" of a disruption budget each time: its selector is patched by being replaced.
    again = re.sub(r"^(poddisruptionbudget.*) configured$", r"\1 unchanged", kubectl.apply(name), flags=re.MULTILINE)
    assert again.count(" unchanged") == objects(name)
    assert kubectl.apply(name, "--server-side").count(" serverside-applied") == objects(name)
    assert "Warning" not in kubectl.apply(name, "--server-side", "--force-conflicts")


def test_a_version_is_followed_looked_at_scaled_and_deleted(kubectl: Kubectl) -> None:
    kubectl.apply("version")
    space = ("-n", "slipway")
    assert "successfully rolled out" in kubectl(
        *space, "rollout", "status", "deployment/tfs-example-v1", "--timeout=100s"
    )
    kubectl(*space, "wait", "--for=condition=Available", "deployment/tfs-example-v1", "--timeout=60s")
    assert re.search(r"^tfs-example-v1\s+1/1\s+1\s+1\s", kubectl(*space, "get", "deployments"), re.MULTILINE)
    assert re.search(r"tfs-example-v1-\S+\s+2/2\s+Running", kubectl(*space, "get", "pods", "-o", "wide"))
    assert re.search(r"tfs-example-v1\s+LoadBalancer\s+127\.", kubectl(*space, "get", "services"))
    assert "persistentvolumeclaim/servables" in kubectl(*space, "get", "pvc", "-o", "name")
    described = kubectl(*space, "describe", "deployment", "tfs-example-v1")
    assert "nvidia.com/gpu:" in described and "Liveness:" in described
    pod = kubectl(*space, "describe", "pods", "-l", "app=example")
    assert "Successfully assigned" in pod and "Service Account:  tensorflow-serving" in pod
    assert "LoadBalancer Ingress" in kubectl(*space, "describe", "service", "tfs-example-v1")
    kubectl(*space, "logs", "deployment/tfs-example-v1")
    assert "scaled" in kubectl(*space, "scale", "deployment/tfs-example-v1", "--replicas=0")
    kubectl(*space, "wait", "--for=delete", "pods", "-l", "app=example", "--timeout=60s")
    assert re.search(r"^tfs-example-v1\s+0/0\s", kubectl(*space, "get", "deployments"), re.MULTILINE)
    deleted = kubectl(*space, "delete", "-f", str(kubectl.templates / "version.yaml"), "--timeout=60s")
    assert deleted.count(" deleted") == objects("version")


def test_an_inference_service_becomes_ready_and_is_deleted_with_what_it_made(kubectl: Kubectl) -> None:
    kubectl.apply("kserve")
    space = ("-n", "slipway")
    kubectl(*space, "wait", "--for=condition=Ready", "inferenceservice/tfs-example-v1", "--timeout=100s")
    url = "http://tfs-example-v1-predictor.slipway.svc.cluster.local"
    assert re.search(rf"^tfs-example-v1\s+{re.escape(url)}\s+True\s", kubectl(*space, "get", "isvc"), re.MULTILINE)
    assert "PredictorReady" in kubectl(*space, "describe", "isvc", "tfs-example-v1")
    assert "deployment.apps/tfs-example-v1-predictor" in kubectl(*space, "get", "deploy,svc", "-o", "name")
    kubectl(*space, "delete", "isvc", "tfs-example-v1", "--timeout=60s")
    until(lambda: "predictor" not in kubectl(*space, "get", "deploy,svc,pods", "-o", "name"), "what it made is gone")
