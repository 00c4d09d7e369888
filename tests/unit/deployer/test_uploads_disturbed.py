"""Uploads that are doubled, mixed, unfinished, overwritten, given up, deleted or taken by two at once."""

from itertools import pairwise

import pytest

from deployer.errors import Conflict, NotFound, SlipwayError, Unavailable
from deployer.ports import PodFailure
from exporter import Crashed, Stage, TimedOut
from tests.deployed import DEQUEUES as ATTEMPTS
from tests.deployed import UPLOADS, Deployed
from tests.fake_cluster import Told
from tests.fakes import Killed, digest
from tests.unit.deployer.bundles import bundle_index, saved_model

LATE = TimedOut("It took too long.", hint="Raise the limit.", stage=Stage.LOAD)
PB, INDEX = "cats/saved_model.pb", "cats/variables/variables.index"
DATA = "cats/variables/variables.data-00000-of-00001"


@pytest.fixture
def deployed() -> Deployed:
    return Deployed()


def put_directory(deployed: Deployed, fill: str = "x") -> None:
    for name, content in (
        (PB, saved_model(variables=True)),
        (INDEX, bundle_index({0: 300})),
        (DATA, fill.encode() * 300),
    ):
        deployed.store.drop(name, content)


def state(deployed: Deployed) -> tuple[str, str | None]:
    upload = deployed.record("cats").upload
    assert upload is not None
    return upload.state, upload.reason


def versions(deployed: Deployed) -> list[int]:
    return [item.version for item in deployed.record("cats").versions]


def objects(deployed: Deployed) -> set[str]:
    return {name for _, name in deployed.kubernetes.objects if name.startswith("tfs-")}


# Directories ----------------------------------------------------------------------------------------------------------


def test_a_directory_is_taken_once_when_its_last_file_comes(deployed: Deployed) -> None:
    deployed.drop(PB, saved_model(assets=("words.txt",), variables=True)).drop(INDEX, bundle_index({0: 300}))
    assert state(deployed) == ("receiving", "waiting for variables/variables.data-00000-of-00001")
    deployed.drop(DATA, b"x" * 299)
    assert state(deployed)[1] == "waiting for variables/variables.data-00000-of-00001 (it has 299 of 300 bytes)"
    deployed.drop(DATA, b"x" * 300)
    assert state(deployed)[1] == "waiting for assets/words.txt"
    assert deployed.exporter.conversions == 0
    deployed.drop("cats/assets/words.txt", "a b")
    assert (deployed.serving("cats"), deployed.exporter.conversions) == (1, 1)


def test_the_tags_of_a_directory_are_on_one_blob_at_a_time(deployed: Deployed) -> None:
    for name, content in ((INDEX, bundle_index({0: 300})), (DATA, b"x" * 300), (PB, saved_model(variables=True))):
        deployed.drop(name, content)
        tagged = [blob for blob in deployed.store.blobs if deployed.store.tags(blob)]
        assert tagged == [name]
    assert deployed.store.tags(PB) == {"slipway_state": "serving", "slipway_version": "1"}


def test_a_directory_that_stays_unfinished_is_reported_once_and_taken_when_it_is_whole(deployed: Deployed) -> None:
    deployed.drop(PB, saved_model(variables=True)).drop(INDEX, bundle_index({0: 300}))
    deployed.sweep.run()
    assert state(deployed)[0] == "receiving"
    deployed.world.pass_time(UPLOADS.unfinished.total_seconds())
    for _ in range(3):
        deployed.sweep.run()
    assert state(deployed) == (
        "unfinished", "still without variables/variables.data-00000-of-00001 after 30 minutes"
    )  # fmt: skip
    tags = deployed.store.tags(PB)
    assert tags["slipway_state"] == "unfinished" and "variables.data-00000-of-00001" in tags["slipway_reason"]
    shown = deployed.told_of("cats")
    assert (shown["state"], shown["hint"]) == (
        "unfinished", "Upload what is missing, or the whole directory again."
    )  # fmt: skip
    assert [entry.what for entry in deployed.record("cats").decisions] == ["reported as unfinished"]
    deployed.drop(DATA, b"x" * 300)
    assert deployed.serving("cats") == 1


def test_a_half_overwritten_directory_is_left_to_settle_and_no_mixture_is_published(deployed: Deployed) -> None:
    """A plain client overwrites file by file; with the same shapes, any mixture would load and answer."""
    put_directory(deployed)
    deployed.run()
    deployed.drop(PB, saved_model(variables=True) + b"\x18\x01", seconds=20)  # another graph, the old variables
    assert state(deployed) == ("receiving", "only some of its files were overwritten so far; they are left to settle")
    assert deployed.serving("cats") == 1
    deployed.sweep.run()
    deployed.drop(INDEX, bundle_index({0: 300}) + b"", seconds=20).drop(DATA, b"y" * 300, seconds=20)
    deployed.run()
    assert (versions(deployed), deployed.serving("cats"), deployed.exporter.conversions) == ([1, 2], 2, 2)
    assert deployed.servables.blobs["cats/2/variables/variables.data-00000-of-00001"].data == b"y" * 300


def test_a_directory_of_which_one_file_is_meant_to_change_is_taken_once_it_has_settled(deployed: Deployed) -> None:
    put_directory(deployed)
    deployed.run()
    deployed.drop(DATA, b"y" * 300, seconds=20)
    assert versions(deployed) == [1]
    deployed.world.pass_time(UPLOADS.settle.total_seconds())
    deployed.sweep.run()
    deployed.run()
    assert (versions(deployed), deployed.serving("cats")) == ([1, 2], 2)


def test_files_that_need_no_change_are_copied_by_storage_itself(deployed: Deployed) -> None:
    put_directory(deployed)
    deployed.run()
    names = [
        (effect.name, effect.subject) for effect in deployed.world.changes() if effect.name.startswith("servables")
    ]
    assert names == [
        ("servables.upload", "cats/1/servable.json"),
        ("servables.copy", "cats/1/variables/variables.data-00000-of-00001"),
        ("servables.copy", "cats/1/variables/variables.index"),
        ("servables.copy", "cats/1/saved_model.pb"),
    ]
    assert deployed.serving("cats") == 1


# One upload, one version ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["while it is converted", "before it is published", "while it is published"])
def test_an_instance_that_lost_its_lease_publishes_nothing(deployed: Deployed, when: str) -> None:
    """Another takes over in the middle of a conversion, and finishes first."""

    def taken_over() -> None:
        deployed.exporter.during = lambda: None
        del deployed.documents.leases["upload-cats"]
        deployed.uploads.take("cats.keras")

    if when == "while it is converted":
        deployed.exporter.during = taken_over
    else:
        check = 1 if when == "before it is published" else 3
        original, calls = deployed.world.effect, iter(range(1000))

        def effect(what: str, subject: str = "", *, changes: bool = True) -> object:
            if what == "lease.check" and next(calls) == check:
                taken_over()
            return original(what, subject, changes=changes)

        deployed.world.effect = effect  # type: ignore[method-assign, assignment]
    deployed.drop("cats.keras", "one")
    assert (versions(deployed), deployed.serving("cats"), deployed.poison) == ([1], 1, [])
    written = [effect.subject for effect in deployed.world.changes() if effect.name == "servables.upload"]
    assert written.count("cats/1/saved_model.pb") == 1


def test_a_version_that_was_published_before_a_kill_is_not_made_again(deployed: Deployed) -> None:
    undisturbed = Deployed().drop("cats.keras", "one")
    last = [effect for effect in undisturbed.world.changes() if effect.name == "servables.upload"][-1]
    deployed.world.kill_at(last.number, after=True)
    deployed.drop("cats.keras", "one")
    deployed.sweep.run()
    deployed.run()
    assert (deployed.serving("cats"), deployed.exporter.conversions) == (1, 1)
    stages = [(stage.stage, stage.outcome, stage.attempt) for stage in deployed.state.timeline("cats", 1)][:5]
    assert stages == [
        ("scan", "done", 1), ("convert", "done", 1), ("publish", "interrupted", 1), ("scan", "done", 2),
        ("publish", "done", 2),
    ]  # fmt: skip


def test_a_version_cut_short_by_another_upload_is_abandoned_with_its_files(deployed: Deployed) -> None:
    deployed.world.fail("servables.upload", Unavailable("storage", "Storage did not do this."), times=1, after=True)
    deployed.store.drop("cats.keras", "one")
    with pytest.raises(Unavailable):
        deployed.uploads.take("cats.keras")
    assert list(deployed.servables.blobs) == ["cats/1/servable.json"]
    deployed.drop("cats.keras", "two")
    record = deployed.record("cats")
    assert [(item.version, item.state) for item in record.versions] == [(1, "deleted"), (2, "serving")]
    assert deployed.servables.visible().keys() == {"cats/2"}
    assert not [name for name in deployed.servables.blobs if name.startswith("cats/1/")]


def test_options_that_only_affect_serving_are_rolled_without_a_version_even_if_the_message_is_lost(
    deployed: Deployed,
) -> None:
    deployed.drop("cats.keras", "one")
    deployed.store.drop("cats.yaml", "replicas: {max: 2}")
    deployed.uploads.take("cats.yaml")
    deployed.store.events.clear()
    deployed.queue.messages.clear()
    assert not deployed.record("cats").settled
    deployed.world.pass_time(61)
    deployed.sweep.run()
    deployed.run()
    assert deployed.record("cats").settled and versions(deployed) == [1]
    annotation = deployed.kubernetes.objects["Deployment", "tfs-cats-v1"]["metadata"]["annotations"]
    assert '"max":2' in annotation["slipway/serve-options"]
    assert deployed.exporter.conversions == 1


def test_the_blob_whose_place_another_takes_is_told_so(deployed: Deployed) -> None:
    deployed.drop("Cats.keras", "one").drop("cats.zip", "two")
    assert deployed.store.tags("Cats.keras")["slipway_state"] == "superseded"
    assert deployed.store.tags("cats.zip")["slipway_state"] == "serving"
    deployed.store.events = ["Cats.keras"]
    deployed.run()
    assert deployed.store.tags("Cats.keras")["slipway_state"] == "superseded"
    assert deployed.serving("cats") == 2


# Given up, and taken up again -----------------------------------------------------------------------------------------


def test_an_upload_that_keeps_failing_is_given_up_told_and_taken_up_by_retry(deployed: Deployed) -> None:
    deployed.drop("cats.keras", "one")
    deployed.exporter.failures = [LATE] * 5
    deployed.drop("cats.keras", "two")
    assert state(deployed) == ("given_up", "It failed 5 times: It took too long.")
    assert deployed.store.tags("cats.keras")["slipway_state"] == "given_up"
    shown = deployed.told_of("cats")
    assert (shown["state"], shown["version"]) == ("given_up", 1)
    assert "slipway retry cats" in str(shown["hint"]) and "Raise the limit." in str(shown["hint"])
    deployed.world.pass_time(7200)
    for _ in range(3):
        deployed.sweep.run()
    assert deployed.exporter.conversions == 6  # nobody tries any more
    deployed.control.retry("cats")
    assert state(deployed)[0] == "queued"
    deployed.sweep.run()
    deployed.run()
    assert (deployed.serving("cats"), versions(deployed)) == (2, [1, 2])
    attempts = [(stage.stage, stage.outcome, stage.attempt) for stage in deployed.state.timeline("cats", 2)]
    assert [item for item in attempts if item[1] == "failed"] == [("convert", "failed", n) for n in range(1, 6)]


def test_a_conversion_that_kills_its_process_each_time_is_given_up(deployed: Deployed) -> None:
    def killed() -> None:
        deployed.world.kill_at(deployed.world.changes()[-1].number + 1)

    deployed.exporter.during = killed
    deployed.drop("cats.keras", "one", seconds=1200)
    for _ in range(10):
        deployed.world.pass_time(120)
        deployed.sweep.run()
    assert state(deployed)[0] == "given_up"
    assert "its process ended while converting" in str(state(deployed)[1])
    assert deployed.exporter.conversions <= ATTEMPTS + 1


def test_the_sweep_waits_longer_after_each_failure(deployed: Deployed) -> None:
    deployed.store.drop("cats.keras", "one", event=False)
    deployed.exporter.failures = [LATE] * 9
    started: list[float] = []
    deployed.exporter.during = lambda: started.append(deployed.world.now.timestamp())
    for _ in range(60):
        deployed.world.pass_time(30)
        deployed.sweep.run()
    pauses = [after - before for before, after in pairwise(started)]
    assert len(started) == ATTEMPTS and pauses == [60, 120, 240, 480]
    assert state(deployed)[0] == "given_up"


def test_what_the_platform_gives_up_is_written_down(deployed: Deployed) -> None:
    """The process was killed, and then the lease could not be had five times."""
    deployed.store.drop("cats.keras", "one", event=False)
    deployed.world.kill_at(4)
    with pytest.raises(Killed):
        deployed.uploads.take("cats.keras")
    assert state(deployed) == ("scanning", None)
    deployed.world.pass_time(61)
    deployed.world.fail("documents.lease", Unavailable("storage", "Storage did not do this."), times=5)
    deployed.store.events = ["cats.keras"]
    deployed.run()
    assert deployed.poison == ["cats.keras"]
    assert state(deployed) == ("given_up", "It failed too many times in a row; its process ended while scanning")
    assert deployed.record("cats").decisions[-1].who == "the platform"
    deployed.control.retry("cats")
    deployed.sweep.run()
    deployed.run()
    assert deployed.serving("cats") == 1


def test_a_poison_message_about_what_is_over_changes_nothing(deployed: Deployed) -> None:
    deployed.drop("cats.keras", "one")
    before = deployed.record("cats")
    for blob in ("cats.keras", "dogs.keras", "notes.docx"):
        deployed.uploads.given_up(blob)
    deployed.retries.rollout_given_up("cats")
    deployed.retries.rollout_given_up("dogs")
    assert deployed.record("cats") == before and list(deployed.state.models()) == ["cats"]


def test_a_rollout_whose_messages_are_given_up_is_asked_for_with_growing_pauses_and_heals(deployed: Deployed) -> None:
    deployed.world.fail("workloads.apply", Unavailable("kubernetes", "It did not answer."), times=12)
    deployed.drop("cats.keras", "one", seconds=30)
    assert deployed.poison == ["cats"]
    shown = deployed.told_of("cats")
    assert shown["state"] == "rolling" and "failed too many times" in str(shown["reason"])
    assert "slipway retry cats" in str(shown["hint"])
    for _ in range(12):
        deployed.world.pass_time(60)
        deployed.sweep.run()
        deployed.run(30)
    assert (deployed.serving("cats"), deployed.record("cats").setback) == (1, None)
    assert deployed.poison == ["cats", "cats"]


def test_a_retry_asks_for_a_rollout_at_once(deployed: Deployed) -> None:
    deployed.world.fail("workloads.apply", Unavailable("kubernetes", "It did not answer."), times=5)
    deployed.drop("cats.keras", "one", seconds=30)
    deployed.control.retry("cats")
    deployed.run()
    assert deployed.serving("cats") == 1


def test_a_version_that_failed_to_come_up_is_tried_again(deployed: Deployed) -> None:

    deployed.kubernetes.told["tfs-cats-v1"] = Told(failure=PodFailure("Error", "cannot parse", fatal=True))
    deployed.drop("cats.keras", "one")
    assert state(deployed)[0] == "failed"
    deployed.kubernetes.told.clear()
    deployed.control.retry("cats")
    deployed.run()
    assert (deployed.serving("cats"), versions(deployed), deployed.exporter.conversions) == (1, [1], 1)


def test_there_is_nothing_to_retry_where_nothing_failed(deployed: Deployed) -> None:
    deployed.drop("cats.keras", "one")
    with pytest.raises(SlipwayError, match="Nothing of 'cats'") as refused:
        deployed.control.retry("cats")
    assert refused.value.code == "nothing_to_retry"
    with pytest.raises(NotFound):
        deployed.control.retry("dogs")


def test_a_crash_that_is_permanent_is_refused_at_once(deployed: Deployed) -> None:
    deployed.exporter.failures = [Crashed("It ended by signal 11.", hint="Report it.", stage=Stage.LOAD)]
    deployed.drop("cats.keras", "one")
    assert state(deployed)[0] == "failed"


# Removed and retired --------------------------------------------------------------------------------------------------


def test_a_removed_model_leaves_nothing_but_what_was_dropped() -> None:
    deployed = Deployed(gpus=2, pool_count=2)
    deployed.drop("cats.keras", "one").drop("cats.keras", "two").drop("dogs.keras", "three")
    assert deployed.control.remove("cats", uploads=False)["removed"] is True
    deployed.run()
    for _ in range(3):
        deployed.world.pass_time(120)
        deployed.sweep.run()
        deployed.run(60)
    with pytest.raises(NotFound):
        deployed.control.model("cats")
    assert [model["name"] for model in deployed.control.models()["models"]] == ["dogs"]
    assert deployed.servables.visible().keys() == {"dogs/1"}
    assert objects(deployed) == {"tfs-dogs", "tfs-dogs-v1"}
    assert "cats.keras" in deployed.store.blobs
    assert [item.what for item in deployed.state.history(deployed.state.change("cats", lambda r: r), newest=2)] == [
        "removed", "all of it is gone",
    ]  # fmt: skip


def test_the_next_upload_of_a_removed_models_name_goes_on_counting(deployed: Deployed) -> None:
    """A path is never used twice: the cluster's mount may remember what it held."""
    deployed.drop("cats.keras", "one")
    deployed.control.remove("cats", uploads=True)
    assert "cats.keras" not in deployed.store.blobs
    deployed.drop("cats.keras", "one")
    assert (versions(deployed), deployed.serving("cats")) == ([2], 2)


def test_a_removal_waits_for_a_stopped_cluster_and_serves_nothing_meanwhile(deployed: Deployed) -> None:
    deployed.drop("cats.keras", "one")
    deployed.cluster.begin_stop()
    deployed.run(120)
    assert deployed.control.remove("cats", uploads=False)["removed"] is False
    shown = deployed.told_of("cats")
    assert (shown["state"], shown["version"]) == ("removing", None)
    deployed.cluster.begin_start()
    deployed.run(120)
    deployed.sweep.run()
    assert not objects(deployed) and not deployed.servables.blobs


def test_a_removal_during_a_conversion_lets_nothing_be_published(deployed: Deployed) -> None:
    def remove() -> None:
        deployed.exporter.during = lambda: None
        assert deployed.control.remove("cats", uploads=False)["removed"] is False

    deployed.exporter.during = remove
    deployed.drop("cats.keras", "one")
    deployed.sweep.run()
    deployed.run()
    with pytest.raises(NotFound):
        deployed.record("cats")
    assert not deployed.servables.blobs and not objects(deployed)


@pytest.mark.parametrize("configured", [False, True])
def test_a_deleted_upload_retires_its_model_only_if_so_configured(configured: bool) -> None:
    deployed = Deployed(retire_deleted=configured).drop("cats.keras", "one")
    del deployed.store.blobs["cats.keras"]
    deployed.sweep.run()
    deployed.run()
    deployed.sweep.run()
    assert deployed.serving("cats") == (None if configured else 1)
    assert deployed.told_of("cats")["state"] == ("retired" if configured else "serving")
    if configured:
        assert deployed.kubernetes.replicas("cats") == {}
        assert deployed.servables.visible().keys() == {"cats/1"}  # it can be gone back to
        deployed.drop("cats.keras", "one")
        assert (deployed.serving("cats"), versions(deployed)) == (1, [1])


@pytest.mark.parametrize("configured", [False, True])
@pytest.mark.parametrize("cut_short", ["set back", "killed"])
def test_an_upload_that_is_deleted_before_its_next_attempt_is_at_work_no_more(cut_short: str, configured: bool) -> None:
    deployed = Deployed(retire_deleted=configured).drop("cats.keras", "one")

    def killed() -> None:
        deployed.exporter.during = lambda: None
        raise Killed(1)

    if cut_short == "killed":
        deployed.exporter.during = killed
    else:
        deployed.exporter.failures = [LATE]
    deployed.store.drop("cats.keras", "two", event=False)
    with pytest.raises(Killed if cut_short == "killed" else TimedOut):
        deployed.uploads.take("cats.keras")
    del deployed.store.blobs["cats.keras"]
    assert state(deployed)[0] == "converting"
    for _ in range(3):
        deployed.world.pass_time(100)
        deployed.sweep.run()
        deployed.run(30)
    assert state(deployed)[0] == ("deleted" if configured else "failed")
    assert deployed.serving("cats") == (None if configured else 1)
    assert "upload cats.keras: withdrawn" in [f"{item.who}: {item.what}" for item in deployed.record("cats").decisions]


def test_a_conversion_whose_upload_is_deleted_goes_undisturbed_by_the_sweep(deployed: Deployed) -> None:
    """It finds that out itself, and publishes nothing."""

    def delete() -> None:
        deployed.exporter.during = lambda: None
        del deployed.store.blobs["cats.keras"]
        deployed.world.pass_time(UPLOADS.unfinished.total_seconds())
        with deployed.documents.lease("upload-cats"):  # as its holder keeps it
            deployed.sweep.run()
        assert state(deployed)[0] == "converting"

    deployed.exporter.during = delete
    deployed.drop("cats.keras", "one")
    deployed.sweep.run()
    assert versions(deployed) == [] and state(deployed)[0] == "failed"


def test_sleep_by_command_tells_if_another_instance_is_at_it(deployed: Deployed) -> None:
    deployed.drop("cats.keras", "one")
    with deployed.documents.lease("cluster"), pytest.raises(Conflict, match="taking compute down"):
        deployed.control.order("sleep", None)


def test_a_decision_has_its_time_author_and_reason(deployed: Deployed) -> None:
    deployed.drop("cats.keras", "one").drop("cats.keras", "two")
    told = deployed.told_of("cats")["history"]
    assert isinstance(told, list)
    assert [(entry["who"], entry["what"]) for entry in told] == [
        ("upload cats.keras", "taken"), ("upload cats.keras", "v1 is made of it"),
        ("upload cats.keras", "v1 shall serve"), ("rollout", "requests go to v1"),
        ("upload cats.keras", "taken"), ("upload cats.keras", "v2 is made of it"),
        ("upload cats.keras", "v2 shall serve"), ("rollout", "requests go to v2"),
    ]  # fmt: skip
    assert all(entry["at"] for entry in told)


def test_content_whose_version_was_abandoned_makes_a_new_one_when_it_comes_again(deployed: Deployed) -> None:
    """The abandoned one's files are gone: it must not be taken for a version that is there."""
    deployed.world.fail("servables.upload", Unavailable("storage", "No answer.", "Again."), times=99)
    deployed.drop("cats.keras", "three", seconds=5)
    deployed.world.faults.clear()
    deployed.drop("cats.keras", "four")
    abandoned = [item.version for item in deployed.record("cats").versions if item.state == "deleted"]
    assert abandoned
    deployed.drop("cats.keras", "three")
    serving = deployed.serving("cats")
    assert serving is not None and serving not in abandoned
    assert deployed.record("cats").version(serving).source["sha256"] == digest(b"three")
    assert f"cats/{serving}/saved_model.pb" in deployed.servables.blobs
