"""However often it is asked for a look at a rollout, one look at a time follows the other."""

import pytest

from tests.deployed import Deployed
from tests.fake_cluster import Pace
from tests.fakes import Message

SLOW = Pace(pod_start=120)


@pytest.fixture
def waiting() -> Deployed:
    """A model whose first version has just been begun: its pods take two minutes."""
    deployed = Deployed(pace=SLOW)
    deployed.drop("cats.keras", "one", seconds=10)
    assert deployed.record("cats").rollout is not None
    return deployed


def live(deployed: Deployed) -> list[Message]:
    """The messages that will be followed when they come."""
    rollout = deployed.record("cats").rollout
    assert rollout is not None
    return [message for message in deployed.queue.messages if message.chain in (None, rollout.chain)]


def test_events_about_what_is_known_do_not_multiply_the_looks(waiting: Deployed) -> None:
    """A directory's files each have an event, and each event of a settled upload asks for a look."""
    for _ in range(20):
        waiting.store.events.append("cats.keras")
    waiting.run(10)
    assert len(waiting.queue.messages) == 1
    waiting.run(300)
    assert waiting.serving("cats") == 1
    assert waiting.queue.messages == []


def test_a_message_that_comes_again_after_it_was_followed_takes_its_followers_place(waiting: Deployed) -> None:
    """Its call was killed after it had asked for the next look, and before the platform took the message away."""
    (follower,) = waiting.queue.messages
    waiting.rollouts.advance("cats")  # the platform calls again
    assert follower in waiting.queue.messages
    assert follower not in live(waiting)
    waiting.run(5)
    assert len(waiting.queue.messages) == 1


def test_the_sweep_begins_a_chain_anew_where_a_message_was_lost(waiting: Deployed) -> None:
    waiting.queue.messages.clear()
    waiting.world.pass_time(200)
    waiting.sweep.run()
    waiting.run(60)
    assert waiting.serving("cats") == 1
    assert waiting.record("cats").settled


def test_a_superfluous_look_looks_at_nothing_but_the_record(waiting: Deployed) -> None:
    before = len(waiting.world.effects)
    assert waiting.rollouts.advance("cats", "another") is None
    assert [effect.name for effect in waiting.world.effects[before:]] == ["documents.read"]
