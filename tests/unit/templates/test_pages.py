"""The pages about Kubernetes name every template, every parameter of Kubeflow's component, and only settings that exist."""

import re
from pathlib import Path

import pytest

from deployer.settings import Settings

ROOT = Path(__file__).parents[3]
PAGES = ROOT / "docs" / "reference"
SETTINGS = {f"SLIPWAY_{group.upper()}__{name.upper()}" for group, fields in Settings() for name, _ in fields}

# Of the prototypes tf-serving-gcp, -aws, -service and -with-request-log and of tf-serving.libsonnet, in their last versions.
KUBEFLOW = """
    name namespace modelName modelBasePath modelPath modelStorageType versionName firstVersion numGpus defaultCpuImage
    defaultGpuImage deployHttpProxy httpProxyImage defaultHttpProxyImage serviceType trafficRule injectIstio deployIstio
    enablePrometheus s3Enable s3SecretName s3SecretAccesskeyidKeyName s3SecretSecretaccesskeyKeyName s3AwsRegion s3UseHttps
    s3VerifySsl s3Endpoint gcpCredentialSecretName gcpProject dataset table
"""


@pytest.mark.parametrize("page", ["kubernetes.md", "kubeflow.md"])
def test_only_settings_that_exist_are_named(page: str) -> None:
    named = set(re.findall(r"SLIPWAY_[A-Z]+__[A-Z_]+", (PAGES / page).read_text()))
    assert named and named <= SETTINGS


def test_every_template_is_described() -> None:
    rows = re.findall(r"^\| `(\S+\.yaml)` \|", (PAGES / "kubernetes.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(path.name for path in (ROOT / "k8s_templates").iterdir())


def test_every_parameter_of_kubeflows_component_has_its_counterpart() -> None:
    cells = re.findall(r"^\| (`.*?) \|", (PAGES / "kubeflow.md").read_text(), re.MULTILINE)
    named = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert set(KUBEFLOW.split()) <= named
