"""Every template is valid for Kubernetes as it stands, and keeps the rules that hold for every container of ours."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

FOLDER = Path(__file__).parents[3] / "k8s_templates"
VERSIONS = ("1.32", kubernetes_validate.latest_version())
TEMPLATES = [
    pytest.param(manifest, id=f"{path.name}-{manifest['kind']}")
    for path in sorted(FOLDER.glob("*.yaml"))
    for manifest in yaml.safe_load_all(path.read_text())
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("manifest", TEMPLATES)
def test_a_template_fits_the_schema_of_kubernetes(manifest: dict[str, Any], version: str) -> None:
    """Strictly: a field that the schema does not know is an error."""
    kubernetes_validate.validate(manifest, version, strict=True)


def test_the_validator_refuses_what_is_wrong() -> None:
    """A misspelt field does not pass."""
    deployment = _deployment()
    deployment["spec"]["replicaz"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, VERSIONS[0], strict=True)


def test_everything_says_who_manages_it() -> None:
    """So that an operator, and a clean-up, can find all of it."""
    for manifest in (item.values[0] for item in TEMPLATES):
        assert isinstance(manifest, dict)
        assert manifest["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "slipway"


def test_containers_are_bounded_probed_and_unprivileged() -> None:
    """No `latest` image; limits; three probes; no root, no privileges, a read-only root file system."""
    pod = _deployment()["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    for container in pod["containers"]:
        assert ":" in container["image"]
        assert not container["image"].endswith(":latest")
        assert {"cpu", "memory"} <= container["resources"]["limits"].keys()
        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()
        rules = container["securityContext"]
        assert rules["allowPrivilegeEscalation"] is False
        assert rules["readOnlyRootFilesystem"] is True
        assert rules["capabilities"] == {"drop": ["ALL"]}
        assert not rules.get("privileged", False)


def _deployment() -> dict[str, Any]:
    manifests: list[dict[str, Any]] = list(yaml.safe_load_all((FOLDER / "version.yaml").read_text()))
    return next(manifest for manifest in manifests if manifest["kind"] == "Deployment")
