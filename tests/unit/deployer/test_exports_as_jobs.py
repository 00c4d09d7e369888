"""A conversion that runs as a Job ends as one in the function does: same record, same errors, nothing doubled or lost."""

from dataclasses import replace
from datetime import timedelta

import pytest

from deployer.adapters.existing_cluster import ExistingCluster
from deployer.errors import CloudRefused, Unavailable
from deployer.idle import Stay, StopCluster
from deployer.ports import PodFailure
from exporter import NotAModel, Stage, TimedOut
from tests.deployed import IDLE, IN_FUNCTION, Deployed
from tests.fakes import Effect

AS_JOB = replace(IN_FUNCTION, where="job")
OUT_OF_MEMORY = PodFailure("OOMKilled", "exit status 137", fatal=False)
NO_IMAGE = PodFailure("ImagePullBackOff", "Back-off pulling image", fatal=True)


@pytest.fixture
def deployed() -> Deployed:
    return Deployed(jobs=AS_JOB)


def upload(deployed: Deployed) -> tuple[str, str | None, str | None]:
    """State, reason and Job of the newest upload."""
    found = deployed.record("cats").upload
    assert found is not None
    return found.state, found.reason, found.job


def the_job(deployed: Deployed) -> str:
    (job,) = deployed.kubernetes.jobs
    return job


def test_the_function_hands_over_and_returns_and_the_job_takes_it_to_the_end(deployed: Deployed) -> None:
    deployed.store.drop("cats.keras", "one", event=False)
    deployed.uploads.take("cats.keras")
    job = the_job(deployed)
    assert upload(deployed) == ("converting", None, job) and deployed.exporter.conversions == 0
    assert deployed.store.tags("cats.keras")["slipway_state"] == "converting"
    deployed.run()
    assert (deployed.serving("cats"), upload(deployed)) == (1, ("serving", None, None))
    assert deployed.exporter.conversions == 1
    stages = [(stage.stage, stage.detail) for stage in deployed.state.timeline("cats", 1)]
    assert stages[0] == ("job", f"as the Job {job}")
    assert [stage for stage, _ in stages[1:4]] == ["scan", "convert", "publish"]
    assert not deployed.state.cluster().exports


def test_the_end_is_that_of_a_conversion_in_the_function(deployed: Deployed) -> None:
    in_function = Deployed().drop("cats.keras", "one").drop("cats.keras", "two")
    deployed.drop("cats.keras", "one").drop("cats.keras", "two")
    mine, theirs = deployed.record("cats"), in_function.record("cats")
    assert [(item.version, item.identity, item.state, item.signatures) for item in mine.versions] == [
        (item.version, item.identity, item.state, item.signatures) for item in theirs.versions
    ]
    assert [entry.what for entry in mine.decisions] == [entry.what for entry in theirs.decisions]
    assert deployed.servables.visible() == in_function.servables.visible()


def test_the_same_bytes_again_are_no_second_version(deployed: Deployed) -> None:
    deployed.drop("cats.keras", "one").drop("cats.keras", "one")
    assert deployed.record("cats").next_version == 2 and deployed.exporter.conversions == 1


def test_auto_goes_by_size() -> None:
    deployed = Deployed(jobs=replace(IN_FUNCTION, where="auto", above=10))
    deployed.drop("cats.keras", "x" * 10)
    assert not deployed.kubernetes.jobs
    deployed.drop("cats.keras", "x" * 11)
    assert deployed.kubernetes.jobs and deployed.serving("cats") == 2


def test_what_the_exporter_refuses_is_refused_in_the_same_words(deployed: Deployed) -> None:
    refusal = NotAModel("It is no model.", hint="Save it again.", stage=Stage.SCAN)
    in_function = Deployed()
    for each in (deployed, in_function):
        each.exporter.refused[b"garbage"] = refusal
        each.drop("cats.keras", "garbage")
    assert upload(deployed) == upload(in_function) == ("failed", "It is no model.", None)
    assert deployed.store.tags("cats.keras") == in_function.store.tags("cats.keras")
    assert len(deployed.kubernetes.jobs) == 1


def test_what_may_heal_is_tried_again_by_another_job(deployed: Deployed) -> None:
    deployed.exporter.failures = [TimedOut("It took too long.", hint="Raise the limit.", stage=Stage.LOAD)]
    deployed.drop("cats.keras", "one", seconds=50)
    first = the_job(deployed)
    assert upload(deployed) == ("converting", "It took too long.", None)
    deployed.world.pass_time(60)
    deployed.sweep.run()
    deployed.run()
    assert deployed.serving("cats") == 1
    assert len(deployed.kubernetes.jobs) == 2 and first in deployed.kubernetes.jobs


def test_a_pod_that_runs_out_of_memory_is_final_and_told(deployed: Deployed) -> None:
    deployed.kubernetes.job_failures = [OUT_OF_MEMORY]
    deployed.drop("cats.keras", "one")
    state, reason, job = upload(deployed)
    assert (state, job) == ("failed", None) and "memory" in str(reason)
    assert "SLIPWAY_EXPORT__JOB_MEMORY_MB" in str(deployed.told_of("cats")["hint"])
    deployed.sweep.run()
    assert len(deployed.kubernetes.jobs) == 1 and not deployed.state.cluster().exports


def test_an_image_that_cannot_be_pulled_is_told_tried_and_given_up_and_retried_by_command(deployed: Deployed) -> None:
    deployed.kubernetes.job_failures = [NO_IMAGE] * 5
    deployed.drop("cats.keras", "one")
    assert "image cannot be pulled" in str(upload(deployed)[1])
    assert not deployed.kubernetes.jobs  # it would be pulled for ever
    for _ in range(20):
        deployed.world.pass_time(120)
        deployed.sweep.run()
        deployed.run(60)
    assert upload(deployed)[0] == "given_up" and not deployed.kubernetes.job_failures
    deployed.control.retry("cats")
    deployed.sweep.run()
    deployed.run()
    assert deployed.serving("cats") == 1


def test_an_upload_that_is_overwritten_deletes_its_job_and_publishes_nothing_of_it(deployed: Deployed) -> None:
    deployed.store.drop("cats.keras", "one", event=False)
    deployed.uploads.take("cats.keras")
    first = the_job(deployed)
    deployed.drop("cats.keras", "two")
    assert first not in deployed.kubernetes.jobs
    assert [item.version for item in deployed.record("cats").versions] == [1]
    assert deployed.exporter.conversions == 1 and not deployed.state.cluster().exports


def test_while_its_job_holds_the_lease_an_overwritten_upload_still_deletes_it(deployed: Deployed) -> None:
    """The process of the first Job sees it, too, and writes nothing more."""

    def overwrite() -> None:
        deployed.exporter.during = lambda: None
        deployed.store.drop("cats.keras", "two")
        deployed.uploads.take("cats.keras")
        assert not deployed.kubernetes.jobs

    deployed.exporter.during = overwrite
    deployed.drop("cats.keras", "one")
    for _ in range(2):
        deployed.world.pass_time(70)
        deployed.sweep.run()
        deployed.run()
    assert deployed.serving("cats") == 1 and deployed.record("cats").next_version == 2


def test_a_superseded_job_that_could_not_be_deleted_does_nothing(deployed: Deployed) -> None:
    deployed.store.drop("cats.keras", "one", event=False)
    deployed.uploads.take("cats.keras")
    first = the_job(deployed)
    deployed.drop("cats.keras", "two")
    before = deployed.documents.blobs["models/cats.json"].etag
    assert deployed.handed_over.run("cats", first)
    assert deployed.documents.blobs["models/cats.json"].etag == before


def test_an_upload_that_is_removed_meanwhile_ends_its_job(deployed: Deployed) -> None:
    deployed.store.drop("cats.keras", "one", event=False)
    deployed.uploads.take("cats.keras")
    del deployed.store.blobs["cats.keras"]
    deployed.run()
    assert upload(deployed) == ("failed", "It was removed while it was converted.", None)
    assert not deployed.kubernetes.jobs and not deployed.queue.messages and not deployed.state.cluster().exports


def test_a_model_that_is_removed_meanwhile_takes_its_job_along(deployed: Deployed) -> None:
    deployed.store.drop("cats.keras", "one", event=False)
    deployed.uploads.take("cats.keras")
    deployed.control.remove("cats", uploads=True)
    deployed.run()
    assert not deployed.kubernetes.jobs and not deployed.servables.blobs and not deployed.queue.messages


def test_a_stopped_cluster_is_started_for_it(deployed: Deployed) -> None:
    deployed.cluster.begin_stop()
    deployed.run(60)
    deployed.drop("cats.keras", "one", seconds=20)
    assert upload(deployed)[:2] == ("converting", "the cluster is starting")
    deployed.run()
    assert deployed.serving("cats") == 1


def test_two_that_need_a_stopped_cluster_at_once_start_it_once() -> None:
    deployed = Deployed(gpus=2, pool_count=2, jobs=AS_JOB)
    deployed.cluster.begin_stop()
    deployed.run(60)
    for name, content in (("cats", "one"), ("dogs", "two")):
        deployed.store.drop(f"{name}.keras", content, event=False)
    meanwhile = iter(["dogs.keras"])

    def between(effect: Effect) -> None:
        if effect.name == "cluster.state":
            for blob in meanwhile:
                deployed.uploads.take(blob)

    deployed.world.watch = between
    deployed.uploads.take("cats.keras")
    assert not list(meanwhile)
    dogs = deployed.record("dogs").upload
    assert dogs is not None and dogs.reason == "another instance is at the cluster"
    assert [effect.name for effect in deployed.world.effects].count("cluster.begin_start") == 1
    assert deployed.state.cluster().failure is None
    deployed.run()
    assert (deployed.serving("cats"), deployed.serving("dogs")) == (1, 1)
    assert [effect.name for effect in deployed.world.effects].count("cluster.begin_start") == 1


def test_a_look_that_saw_the_cluster_stopped_looks_again_before_it_starts_it(deployed: Deployed) -> None:
    """A Job that is known already looks first, and takes the cluster's lease only where something is to be ordered."""
    deployed.store.drop("cats.keras", "one", event=False)
    deployed.uploads.take("cats.keras")
    job = the_job(deployed)
    deployed.cluster.begin_stop()
    deployed.world.pass_time(60)
    orders = iter(["start"])

    def before(effect: Effect) -> None:
        if effect.name == "documents.lease" and effect.subject == "cluster":
            for _ in orders:
                deployed.cluster.begin_start()  # another instance, which has left the lease by now

    deployed.world.watch = before
    deployed.uploads.look("cats", job)
    assert not list(orders) and deployed.state.cluster().failure is None
    assert [effect.name for effect in deployed.world.effects].count("cluster.begin_start") == 1
    deployed.run()
    assert deployed.serving("cats") == 1


def test_a_job_that_comes_while_the_ladder_stops_the_cluster_waits_and_runs_on_it_later(deployed: Deployed) -> None:
    deployed.drop("cats.keras", "one")
    for _ in range(40):
        deployed.run(299)
        if isinstance(deployed.teardown.decide(), StopCluster):
            break
        deployed.tick()
    arrivals = iter(["dogs.keras"])

    def during(effect: Effect) -> None:  # after the ladder's last look, before its order
        if (
            effect.subject == "cluster.json"
            and b"empty for long enough" in deployed.documents.blobs["cluster.json"].data
        ):
            for blob in arrivals:
                deployed.store.drop(blob, "dog", event=False)
                deployed.uploads.take(blob)

    made = len(deployed.kubernetes.jobs)
    deployed.world.watch = during
    assert isinstance(deployed.teardown.run(), StopCluster) and not list(arrivals)
    assert len(deployed.kubernetes.jobs) == made and deployed.cluster.state().busy
    deployed.world.watch = lambda effect: None
    for _ in range(60):
        deployed.run(60)
        deployed.sweep.run()
    dogs = deployed.record("dogs").upload
    assert dogs is not None and (dogs.state, dogs.attempts) == ("serving", 1)


def test_a_cluster_that_does_not_come_is_told(deployed: Deployed) -> None:
    deployed.cluster.begin_stop()
    deployed.run(60)
    deployed.cluster.failures = ["azure_capacity: no machines"] * 99
    deployed.drop("cats.keras", "one", seconds=40 * 60)
    state, reason, job = upload(deployed)
    assert (state, job) == ("converting", None) and "azure_capacity: no machines" in str(reason)


def test_a_cluster_of_a_kubeconfig_runs_it_as_well(deployed: Deployed) -> None:
    deployed.azure = ExistingCluster()
    deployed.restart()
    deployed.drop("cats.keras", "one", seconds=60)
    assert deployed.kubernetes.jobs and deployed.exporter.conversions == 1
    assert upload(deployed)[0] in ("published", "serving")


def test_what_the_cluster_refuses_is_told_while_it_lasts(deployed: Deployed) -> None:
    refused = CloudRefused("kubernetes_403", "Kubernetes did not get Job: forbidden", "Check the rights.")
    deployed.world.fail("workloads.job", refused, times=2)
    deployed.drop("cats.keras", "one", seconds=5)
    assert upload(deployed)[:2] == ("converting", "Kubernetes did not get Job: forbidden Check the rights.")
    deployed.run()
    assert deployed.serving("cats") == 1


def test_storage_that_fails_at_a_look_costs_no_job(deployed: Deployed) -> None:
    """What is looked at is another attempt's matter: the look is made again."""
    deployed.store.drop("cats.keras", "one", event=False)
    deployed.uploads.take("cats.keras")
    job = the_job(deployed)
    for name in ("documents.read", "uploads.list", "workloads.job", "cluster.state"):
        deployed.world.fail(name, Unavailable("storage", "No answer."))
        with pytest.raises(Unavailable):
            deployed.uploads.look("cats", job)
        assert upload(deployed)[2] == job
    deployed.run()
    assert deployed.serving("cats") == 1 and the_job(deployed) == job


def test_the_ladder_leaves_the_cluster_running_while_a_job_does(deployed: Deployed) -> None:
    """Its GPU pool goes: the Job does not run there."""
    deployed.drop("cats.keras", "one")
    deployed.control.order("sleep", None)
    deployed.run(60)
    deployed.exporter.during = lambda: deployed.world.pass_time(1)
    deployed.kubernetes.pace = replace(deployed.kubernetes.pace, pod_start=3 * 3600)
    policy = replace(IDLE, pool_after=timedelta(0), stop_after=timedelta(minutes=1))
    deployed.teardown = replace(deployed.teardown, policy=policy)
    deployed.store.drop("dogs.keras", "dog", event=False)
    deployed.uploads.take("dogs.keras")
    decisions = []
    for _ in range(6):
        deployed.world.pass_time(300)
        decisions.append(deployed.teardown.run())
    assert any(isinstance(item, Stay) and "a conversion runs on the cluster" in item.reason for item in decisions)
    assert deployed.cluster.state().power == "Running"
    deployed.store.blobs.clear()
    deployed.run(60)
    for _ in range(3):
        deployed.world.pass_time(300)
        decisions.append(deployed.teardown.run())
    assert any(isinstance(item, StopCluster) for item in decisions)


def test_a_missing_image_setting_is_told(deployed: Deployed) -> None:
    jobs = deployed.uploads.jobs
    template = replace(jobs.render, export=jobs.render.export.model_copy(update={"job_image": ""}))  # type: ignore[attr-defined, type-var]  # JobTemplate
    deployed.uploads = replace(deployed.uploads, jobs=replace(jobs, render=template))
    deployed.drop("cats.keras", "one", seconds=20)
    assert "No image of the exporter is configured" in str(upload(deployed)[1])
    assert "SLIPWAY_EXPORT__JOB_IMAGE" in str(deployed.told_of("cats")["hint"])


def test_a_job_that_somebody_deleted_is_made_again(deployed: Deployed) -> None:
    """Before its process began, it is the same Job again; a process that is gone is another attempt."""
    deployed.store.drop("cats.keras", "one", event=False)
    deployed.uploads.take("cats.keras")
    first = the_job(deployed)
    deployed.kubernetes.delete_job(first)
    deployed.run()
    assert deployed.serving("cats") == 1 and the_job(deployed) == first


def test_a_message_that_is_given_up_gives_no_job_up(deployed: Deployed) -> None:
    deployed.store.drop("cats.keras", "one", event=False)
    deployed.uploads.take("cats.keras")
    deployed.uploads.given_up("cats.keras")
    assert upload(deployed)[0] == "converting"


def test_the_sweep_looks_where_the_message_was_lost(deployed: Deployed) -> None:
    deployed.kubernetes.job_failures = [OUT_OF_MEMORY]
    deployed.store.drop("cats.keras", "one", event=False)
    deployed.uploads.take("cats.keras")
    deployed.queue.messages.clear()
    deployed.run(70)
    assert upload(deployed)[0] == "converting"
    deployed.sweep.run()
    assert upload(deployed)[0] == "failed"
