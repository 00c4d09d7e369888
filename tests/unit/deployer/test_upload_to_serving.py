"""The main flow over the small world: what is dropped becomes a version, is rolled out, and serves."""

import pytest

from deployer.errors import Unavailable
from exporter import NotAModel, Stage, TimedOut
from tests.deployed import POLICY, Deployed

BROKEN = NotAModel("'cats.keras' is no model.", hint="Save it again.", stage=Stage.SCAN)


@pytest.fixture
def deployed() -> Deployed:
    return Deployed()


def test_a_dropped_model_serves_and_every_step_comes_in_order(deployed: Deployed) -> None:
    deployed.drop("Cats.keras", "one")
    record = deployed.record("cats")
    assert (record.desired, record.rollout, deployed.serving("cats")) == (1, None, 1)
    assert deployed.steps == ["Apply", "AwaitPods", "Prove", "Switch", "Settled"]
    assert deployed.store.tags("Cats.keras") == {"slipway_state": "serving", "slipway_version": "1"}
    assert deployed.kubernetes.objects["Service", "tfs-cats"]["spec"]["selector"] == {"app": "cats", "version": "v1"}
    stages = [stage.stage for stage in deployed.state.timeline("cats", 1)]
    assert stages == ["scan", "convert", "publish", "apply", "pods", "prove", "switch"]
    assert deployed.poison == []


def test_a_version_is_published_with_its_saved_model_last(deployed: Deployed) -> None:
    deployed.drop("cats.keras", "one")
    uploads = [effect.subject for effect in deployed.world.changes() if effect.name == "servables.upload"]
    assert uploads[-1] == "cats/1/saved_model.pb"
    assert deployed.servables.visible() == {
        "cats/1": [
            "saved_model.pb", "servable.json", "variables/variables.data-00000-of-00001", "variables/variables.index",
        ]
    }  # fmt: skip


def test_a_pool_at_zero_is_scaled_up_for_the_first_model() -> None:
    deployed = Deployed(pool_count=0).drop("cats.keras", "one")
    assert deployed.serving("cats") == 1
    assert deployed.steps == ["WakeCluster", "AwaitCluster", "Apply", "AwaitPods", "Prove", "Switch", "Settled"]


def test_a_duplicate_event_makes_no_second_version(deployed: Deployed) -> None:
    deployed.store.events = ["cats.keras", "cats.keras"]
    deployed.drop("cats.keras", "one")
    deployed.store.events = ["cats.keras"]
    deployed.run()
    assert [item.version for item in deployed.record("cats").versions] == [1]
    assert deployed.exporter.conversions == 1
    assert deployed.serving("cats") == 1


def test_the_same_bytes_again_are_not_converted_again(deployed: Deployed) -> None:
    deployed.drop("cats.keras", "one").drop("cats.keras", "one")
    assert deployed.exporter.conversions == 1
    assert [item.version for item in deployed.record("cats").versions] == [1]
    assert deployed.store.tags("cats.keras") == {"slipway_state": "serving", "slipway_version": "1"}


def test_a_second_version_beside_the_first_when_a_gpu_is_free() -> None:
    deployed = Deployed(gpus=2, pool_count=2).drop("cats.keras", "one")
    deployed.store.drop("cats.keras", "two")
    served: list[int | None] = []
    deployed.run(watch=lambda: served.append(deployed.serving("cats")))
    assert set(served) == {1, 2} and served == sorted(served, key=lambda version: version or 0)
    assert deployed.kubernetes.replicas("cats") == {2: 1}
    states = {item.version: item.state for item in deployed.record("cats").versions}
    assert states == {1: "retired", 2: "serving"}


def test_a_second_version_takes_the_place_of_the_first_when_there_is_one_gpu(deployed: Deployed) -> None:
    deployed.drop("cats.keras", "one")
    deployed.steps.clear()
    deployed.drop("cats.keras", "two")
    assert deployed.serving("cats") == 2
    assert deployed.steps == [
        "Apply", "AwaitPods", "Apply", "AwaitPods", "Prove", "Switch", "Retire", "Settled"
    ]  # fmt: skip
    assert deployed.kubernetes.replicas("cats") == {2: 1}


def test_the_old_version_stays_until_its_requests_have_drained() -> None:
    deployed = Deployed(gpus=2, pool_count=2).drop("cats.keras", "one")
    deployed.drop("cats.keras", "two")
    switched = deployed.world.times("workloads.apply", "Service/tfs-cats")[-1]
    (gone,) = deployed.world.times("workloads.delete_version", "tfs-cats-v1")
    assert gone - switched >= POLICY.drain


def test_a_refused_file_says_why_and_leaves_what_serves(deployed: Deployed) -> None:
    deployed.drop("cats.keras", "one")
    deployed.exporter.refused[b"garbage"] = BROKEN
    deployed.drop("cats.keras", "garbage")
    assert deployed.serving("cats") == 1
    tags = deployed.store.tags("cats.keras")
    assert (tags["slipway_state"], "slipway_version" in tags) == ("failed", False)
    shown = deployed.told_of("cats")
    assert (shown["state"], shown["version"], shown["hint"]) == ("failed", 1, "Save it again.")
    assert deployed.poison == []


def test_a_refused_first_file_makes_a_model_without_a_version(deployed: Deployed) -> None:
    deployed.exporter.refused[b"garbage"] = BROKEN
    deployed.drop("cats.keras", "garbage")
    record = deployed.record("cats")
    assert (record.versions, record.desired, record.settled) == ((), None, True)
    stages = [(stage.stage, stage.outcome) for stage in record.upload.stages] if record.upload else []
    assert stages == [("scan", "failed")]


def test_a_file_that_is_no_model_by_its_name_is_told_so_on_its_own_tags(deployed: Deployed) -> None:
    deployed.drop("notes.docx", "text")
    assert deployed.store.tags("notes.docx")["slipway_state"] == "failed"
    assert list(deployed.state.models()) == []


def test_what_may_heal_is_tried_again_and_heals(deployed: Deployed) -> None:
    late = TimedOut("It took too long.", hint="Raise the limit.", stage=Stage.LOAD)
    deployed.exporter.failures = [late, late]
    deployed.world.fail("servables.upload", Unavailable("storage", "Storage did not do this."))
    deployed.drop("cats.keras", "one")
    assert deployed.serving("cats") == 1
    assert deployed.poison == []
    assert [item.version for item in deployed.record("cats").versions] == [1]


def test_a_blob_overwritten_during_its_conversion_publishes_nothing_of_the_old(deployed: Deployed) -> None:
    def overwrite() -> None:
        deployed.exporter.during = lambda: None
        deployed.store.drop("cats.keras", "two")

    deployed.exporter.during = overwrite
    deployed.drop("cats.keras", "one")
    record = deployed.record("cats")
    assert [item.version for item in record.versions] == [1]
    assert (
        deployed.servables.blobs["cats/1/variables/variables.data-00000-of-00001"].data.decode()
        == (record.versions[0].source["sha256"])
    )
    deployed.exporter.during = lambda: None
    deployed.drop("cats.keras", "two")
    assert deployed.exporter.conversions == 2


def test_labels_that_arrive_later_make_a_version_of_their_own(deployed: Deployed) -> None:
    deployed.drop("cats.keras", "one").drop("cats.labels.txt", "lynx\ntiger\n")
    record = deployed.record("cats")
    assert [(item.version, item.labels) for item in record.versions] == [(1, None), (2, 2)]
    assert deployed.serving("cats") == 2


def test_a_directory_waits_for_its_last_file(deployed: Deployed) -> None:
    deployed.drop("cats/variables/variables.index", "index").drop(
        "cats/variables/variables.data-00000-of-00001", "data"
    )
    upload = deployed.record("cats").upload
    assert upload is not None and (upload.state, upload.reason) == ("receiving", "waiting for saved_model.pb")
    deployed.drop("cats/saved_model.pb", "graph")
    assert deployed.serving("cats") == 1
    assert deployed.store.tags("cats/saved_model.pb")["slipway_state"] == "serving"


def test_bad_options_refuse_the_upload_by_name(deployed: Deployed) -> None:
    deployed.store.drop("cats.yaml", "gpus: many", event=False)
    deployed.drop("cats.keras", "one")
    upload = deployed.record("cats").upload
    assert upload is not None and upload.reason is not None
    assert (upload.state, upload.stage) == ("failed", "options")
    assert "cats.yaml" in upload.reason and "gpus" in upload.reason


def test_options_that_only_affect_serving_make_no_new_version(deployed: Deployed) -> None:
    deployed.drop("cats.keras", "one").drop("cats.yaml", "gpus: 0")
    record = deployed.record("cats")
    assert [(item.version, item.serve.gpus) for item in record.versions] == [(1, 0)]
    assert deployed.exporter.conversions == 1


def test_a_label_file_that_the_options_name_is_taken_from_the_container(deployed: Deployed) -> None:
    deployed.store.drop("animals.txt", "cat\ndog\n", event=False)
    deployed.drop("cats.yaml", "labels: animals.txt\n").drop("cats.keras", "one")
    assert deployed.record("cats").version(1).labels == 2


def test_options_inside_a_directory_count(deployed: Deployed) -> None:
    deployed.drop("cats/slipway.yaml", "gpus: 0\n").drop("cats/saved_model.pb", "one")
    assert deployed.record("cats").version(1).serve.gpus == 0


def test_labels_that_the_options_name_are_not_taken_from_another_file(deployed: Deployed) -> None:
    """They may lie inside the model, where the exporter looks: a file of another name does not stand in for them."""
    deployed.store.drop("dogs.labels.txt", "terrier\npoodle", event=False)
    deployed.store.drop("dogs.yaml", "labels: inside.txt", event=False)
    deployed.drop("dogs.keras", "one")
    assert deployed.record("dogs").version(1).labels is None
