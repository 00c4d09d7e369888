"""The stand-in answers as a real API server was recorded to (../shared/kube_golden, Kubernetes 1.36.2)."""

import json
from pathlib import Path

import pytest

from tests.contract.kubernetes_stand_in import replay
from tests.contract.kubernetes_stand_in.comparison import compare, compare_events
from tests.contract.kubernetes_stand_in.recordings import Outcome

RECORDINGS = replay.RECORDINGS
LISTED = (*replay.HELD_TO_BOUND, "06")


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason=f"no recordings beside the repository ({RECORDINGS.name})")
@pytest.mark.parametrize("number", LISTED)
async def test_what_differs_from_a_recording_is_what_is_listed(number: str) -> None:
    path = next(RECORDINGS.glob(f"{number}-*.json"))
    outcome = await replay.replay(path)
    differing = {index for index, _, _ in outcome.differing}
    always, may = (set(replay.known_differences(path.stem, kind)) for kind in ("always", "may"))
    unlisted = [f"{index} {asked}: {why}" for index, asked, why in outcome.differing if index not in always | may]
    assert not unlisted, "\n".join(unlisted)
    assert not always - differing, "listed in differences.json, but equal by now"
    if number in replay.HELD_TO_BOUND:
        assert 1 - len(always | may) / outcome.total >= replay.BOUND, (
            "with every race lost, it would be below the bound"
        )


async def test_a_recording_below_its_bound_fails_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def step(path: str, status: int) -> object:
        return {"request": {"method": "DELETE", "path": path}, "response": {"status": status, "body": None}}

    steps = [step("/api/v1/nodes/g01", 200), step("/nothing", 200)]
    (tmp_path / "01-made-up.json").write_text(json.dumps({"scenario": "01-made-up", "steps": steps}))
    assert await replay.run([tmp_path / "01-made-up.json"], None, verbose=True) == 1
    told = capsys.readouterr()
    assert "0 of   2 steps equal  BELOW 95%" in told.out
    assert "recorded 200" in told.out
    assert "01-made-up" in told.err


def test_a_folder_without_recordings_is_a_wrong_call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        replay.main(["--recordings", str(tmp_path)])
    assert left.value.code == 2
    assert "make replay RECORDINGS=DIR" in capsys.readouterr().err


def test_a_difference_in_value_status_and_length_is_seen() -> None:
    recorded = {"status": 200, "body": {"metadata": {"uid": "a", "labels": {"n": "1"}}, "items": [{"x": 1}]}}
    same = {"metadata": {"uid": "b", "labels": {"n": "1"}}, "items": [{"x": 1}]}
    assert compare(recorded, 200, same, write=False) is None
    assert compare(recorded, 201, same, write=False)
    assert compare(recorded, 200, {**same, "items": [{"x": 2}]}, write=False)
    assert compare(recorded, 200, {**same, "items": []}, write=False)
    assert compare(recorded, 200, {**same, "metadata": {"uid": "b"}}, write=False)


def test_a_watch_that_tells_less_more_or_other_is_seen() -> None:
    def event(kind: str, name: str) -> dict[str, object]:
        return {"type": kind, "object": {"metadata": {"name": name}}}

    recorded = {"status": 200, "body": None, "events": [event("ADDED", "a"), event("BOOKMARK", "")]}
    assert (
        compare_events(recorded, 200, None, [event("ADDED", "a"), event("BOOKMARK", ""), event("BOOKMARK", "")]) is None
    )
    assert compare_events(recorded, 200, None, [event("ADDED", "a")]) == "no bookmark came, recorded some"
    assert compare_events(recorded, 200, None, [event("ADDED", "b"), event("BOOKMARK", "")])
    assert compare_events(recorded, 200, None, [event("DELETED", "a"), event("BOOKMARK", "")])
    assert compare_events({"status": 200, "body": None}, 200, None, [event("ADDED", "a")])


def test_a_summary_says_what_was_left_out() -> None:
    outcome = Outcome("20-python-client", equal=35, not_asked=12)
    assert replay.summary(outcome).endswith("35 of  35 steps equal  (12 about groups that are not served: not asked)")
