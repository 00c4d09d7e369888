"""A TensorFlow Serving pod, as the deployer describes it, serves a model from a blob container."""

import json
from pathlib import Path

import pytest
from azure.storage.blob import BlobServiceClient

from tests.functional.aks_stand_in.stand import REPOSITORY, fetch, running, until

MODELS = REPOSITORY.parent / "shared" / "tf_serving_testdata" / "saved_model_half_plus_two_cpu"

CONFIG = """model_config_list {
  config {
    name: "half"
    base_path: "/models/half"
    model_platform: "tensorflow"
    model_version_policy { specific { versions: 123 } }
  }
}
"""


@pytest.mark.skipif(not MODELS.is_dir(), reason=f"TensorFlow Serving's test data is not at {MODELS}")
def test_a_model_in_a_blob_container_answers_at_the_service(azurite: str, tmp_path: Path) -> None:
    """half_plus_two: x / 2 + 2."""
    with BlobServiceClient.from_connection_string(azurite) as service:
        container = service.create_container("servables")
        for path in sorted(MODELS.rglob("*")):
            if path.is_file():
                container.upload_blob(f"half/{path.relative_to(MODELS).as_posix()}", path.read_bytes())
    with running(tmp_path, azurite) as stand:
        space = stand.namespace("slipway")
        space.blob_volume("servables")
        space.create("ConfigMap", "config", "/api/v1/configmaps", data={"models.config": CONFIG})
        space.deployment(
            "tfs-half-v123",
            "--port=8500",
            "--rest_api_port=8501",
            "--model_name=half",
            "--model_config_file=/config/models.config",
            image="tensorflow/serving:2.20.0-gpu",
            port_flag=False,
            volumes=[
                {"name": "models", "persistentVolumeClaim": {"claimName": "servables", "readOnly": True}},
                {"name": "config", "configMap": {"name": "config"}},
            ],
            volumeMounts=[
                {"name": "models", "mountPath": "/models", "readOnly": True},
                {"name": "config", "mountPath": "/config"},
            ],
            readinessProbe={
                "httpGet": {"path": "/v1/models/half/versions/123/metadata", "port": "http"},
                "periodSeconds": 1,
                "timeoutSeconds": 5,
            },
        )
        url = f"{space.address('tfs-half-v123')}/v1/models/half:predict"
        answer = until(
            lambda: json.loads(fetch(url, method="POST", body={"instances": [1.0, 2.0, 5.0]})), "it answers", 90
        )
        assert answer == {"predictions": [2.5, 3.0, 4.5]}
