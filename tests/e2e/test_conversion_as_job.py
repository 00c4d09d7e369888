"""Conversions on the cluster, with the real exporter in the Job's pod: what serves and what is refused is as in the function."""

from pathlib import Path

import pytest
from kubernetes import client as kubernetes_client

from demo.digits import TRAINING, load, png
from exporter import ExportError, ExportOptions, scan
from tests.e2e.cloud_user import StartCloud

IMAGE = png(load()[TRAINING])


def in_words(bad: Path) -> str:
    """What the exporter says of a file here."""
    with pytest.raises(ExportError) as refused:
        scan(bad, ExportOptions())
    return refused.value.message


@pytest.mark.timeout(300)
async def test_a_model_converted_by_a_job_serves_and_a_bad_one_is_refused_as_ever(
    start_cloud: StartCloud, digits: Path, tmp_path: Path
) -> None:
    client = await start_cloud(
        {
            "SLIPWAY_EXPORT__WHERE": "job", "SLIPWAY_EXPORT__JOB_LOOK_SECONDS": "1", "SLIPWAY_EXPORT__MEMORY_MB": "4096",
            "SLIPWAY_IDLE__ENABLED": "false",
        }
    )  # fmt: skip
    jobs = kubernetes_client.BatchV1Api(client.core.api_client)
    letter = tmp_path / "letter.keras"
    letter.write_bytes(b"this is a letter to my mother")
    client.drop(letter.name, letter.read_bytes())
    client.drop("digits.labels.txt", (digits / "v1" / "digits.labels.txt").read_bytes())
    client.drop("digits.keras", (digits / "v1" / "digits.keras").read_bytes())
    seen = await client.until(
        lambda: client.model("digits"), lambda model: bool(model["upload"] and (model["upload"]["job"] or model["version"])),
        "a Job has it",
    )  # fmt: skip
    serving = await client.serves("digits", 1)
    assert (await client.classify("digits", IMAGE)).status == 200
    stages = {stage["stage"]: stage for stage in serving["timeline"]}
    assert {"job", "scan", "convert", "publish"} <= stages.keys()
    job = stages["job"]["detail"].removeprefix("as the Job ")
    assert seen["upload"]["job"] in (job, None)
    found = jobs.read_namespaced_job(job, "slipway")
    assert found.spec.template.spec.node_selector == {"kubernetes.azure.com/mode": "system"}

    refused = await client.failed("letter")
    assert refused["upload"]["stage"] == "scan" and refused["upload"]["hint"] and refused["upload"]["job"] is None
    assert refused["upload"]["reason"] == in_words(letter)
    await client.tagged("letter.keras", "failed")
    assert refused["versions"] == []
