"""How often a rollout looks whether its pods are ready: often at first, as a small model's are there soon, and then less."""

from datetime import timedelta
from itertools import pairwise

from tests.deployed import Deployed
from tests.fake_cluster import Pace


def test_new_pods_are_looked_for_each_second_and_slow_ones_at_the_pace_of_the_settings() -> None:
    deployed = Deployed(pace=Pace(pod_start=60))
    deployed.drop("cats.keras", "one")
    assert deployed.serving("cats") == 1
    applied = deployed.world.times("workloads.apply", "Deployment/tfs-cats-v1")[0]
    looks = [at for at in deployed.world.times("workloads.of", "cats") if at >= applied]
    pauses = [(before - applied, after - before) for before, after in pairwise(looks) if after > before]
    soon = [pause for since, pause in pauses if since < timedelta(seconds=30)]
    late = [pause for since, pause in pauses if timedelta(seconds=31) < since < timedelta(seconds=58)]
    assert len(soon) >= 29 and set(soon) == {timedelta(seconds=1)}
    assert late and set(late) == {timedelta(seconds=2)}
