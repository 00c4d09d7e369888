"""What has become of an upload, told from what the API says of its model."""

from deployer.cli.follow import (
    Asleep,
    Before,
    GoneBack,
    Refused,
    Removed,
    Serving,
    Superseded,
    Under,
    before_push,
    fate_of,
    new_stages,
    noticed,
)
from tests.unit.cli.models_shown import shown, stage, upload, version

NEVER = Before()


def test_a_model_that_is_not_known_yet_has_not_been_noticed() -> None:
    assert fate_of(None, "mine", NEVER) == Under("waiting for the upload to be noticed")


def test_the_upload_before_is_not_taken_for_this_one() -> None:
    old = shown(upload("old", "serving", 1), version(1, "serving"), serving=1)
    assert isinstance(fate_of(old, "mine", before_push(old)), Under)


def test_a_failure_of_the_upload_before_is_not_taken_for_this_ones() -> None:
    old = shown(upload("old", "failed", stage="scan", reason="no zip", hint="save it again"))
    assert isinstance(fate_of(old, "mine", before_push(old)), Under)


def test_an_upload_that_another_has_followed_is_superseded() -> None:
    old = shown(upload("old", "serving", 1), version(1, "serving"), serving=1)
    now = shown(upload("another", "scanning"), version(1, "serving"), serving=1)
    assert fate_of(now, "mine", before_push(old)) == Superseded("cats.keras")


def test_it_serves_once_its_own_version_does() -> None:
    now = shown(upload("mine", "serving", 1), version(1, "serving"), serving=1)
    assert fate_of(now, "mine", NEVER) == Serving(1, known=False)


def test_while_the_version_before_serves_it_is_under_way() -> None:
    now = shown(upload("mine", "published", 2), version(1, "serving"), version(2), serving=1, rolling="v2 is starting")
    assert fate_of(now, "mine", NEVER) == Under("v2: v2 is starting")


def test_the_same_bytes_again_end_at_the_version_that_was_there() -> None:
    old = shown(upload("old", "serving", 3), version(3, "serving"), serving=3)
    now = shown(upload("mine", "serving", 3), version(3, "serving"), serving=3)
    assert fate_of(now, "mine", before_push(old)) == Serving(3, known=True)


def test_quotes_around_an_etag_mean_nothing() -> None:
    now = shown(upload('"mine"', "serving", 1), version(1, "serving"), serving=1)
    assert isinstance(fate_of(now, "mine", NEVER), Serving)


def test_a_refused_upload_tells_stage_reason_hint_and_what_serves_on() -> None:
    failed = upload("mine", "failed", stage="scan", reason="It is no zip archive.", hint="Save it again.")
    now = shown(failed, version(1, "serving"), serving=1)
    assert fate_of(now, "mine", NEVER) == Refused("scan", "It is no zip archive.", "Save it again.", 1)


def test_a_version_that_failed_in_its_rollout_is_a_refusal() -> None:
    failed = version(2, "failed", reason="the model server does not stay up", hint="See its log.")
    now = shown(upload("mine", "published", 2), version(1, "serving"), failed, serving=1)
    assert fate_of(now, "mine", NEVER) == Refused("rollout", "the model server does not stay up", "See its log.", 1)


def test_a_model_that_sleeps_is_not_said_to_serve() -> None:
    now = shown(upload("mine", "published", 1), version(1), asleep=True)
    assert fate_of(now, "mine", NEVER) == Asleep(1)


def test_a_version_that_was_gone_back_from_is_not_waited_for() -> None:
    """Whether it was still on its way or had come to serve already."""
    for left in (version(2, "published"), version(2, "retired", reason="left for v1 by command")):
        back = shown(upload("mine", "published", 2), version(1, "serving"), left, serving=1) | {"desired": 1}
        assert fate_of(back, "mine", NEVER, noticed=True) == GoneBack(2, to=1)


def test_a_model_that_was_removed_is_not_waited_for() -> None:
    assert fate_of(shown(upload("mine", "removed")), "mine", NEVER) == Removed()
    assert fate_of(shown(upload("mine", "deleted")), "mine", NEVER) == Removed()
    followed = shown(upload("mine", "converting"))
    assert noticed(followed, "mine") and not noticed(followed, "other") and not noticed(None, "mine")
    assert fate_of(None, "mine", NEVER, noticed=True) == Removed()


def test_an_upload_after_a_removal_that_is_not_done_says_what_it_waits_for() -> None:
    old = shown(upload("old", "removed")) | {"state": "removing"}
    assert "removal" in str(fate_of(old, "mine", before_push(old)))


def test_a_directory_that_is_not_complete_says_what_it_waits_for() -> None:
    now = shown(upload("mine", "receiving", reason="waiting for variables/variables.index"))
    assert fate_of(now, "mine", NEVER) == Under("receiving: waiting for variables/variables.index")


def test_a_conversion_that_runs_as_a_job_says_so_and_what_it_waits_for() -> None:
    now = shown(upload("mine", "converting", job="export-cats-1", reason="no node has room"))
    assert fate_of(now, "mine", NEVER) == Under("converting as the Job export-cats-1: no node has room")


def test_only_stages_that_began_after_those_before_the_push_are_new() -> None:
    first = [stage("scan", 0), stage("convert", 1)]
    before = before_push(shown(upload("old", "serving", 1), version(1), serving=1, timeline=first))
    now = shown(upload("mine", "published", 2), version(1), version(2), timeline=[*first, stage("scan", 60, 2)])
    assert [(new["stage"], new["version"]) for new in new_stages(now, before)] == [("scan", 2)]


def test_all_stages_of_a_new_model_are_new() -> None:
    now = shown(upload("mine", "published", 1), version(1), timeline=[stage("scan", 0), stage("convert", 1)])
    assert [new["stage"] for new in new_stages(now, before_push(None))] == ["scan", "convert"]
