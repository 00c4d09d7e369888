"""Whatever users, the platform and the cloud do, in whatever order: what holds after every step, and where it all ends."""

from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from deployer.errors import Unavailable
from deployer.export_jobs import Where
from deployer.ports import PodFailure
from deployer.record import ENDED, GONE, ModelRecord
from exporter import NotAModel, Stage
from tests.deployed import IN_FUNCTION, Deployed
from tests.fake_cluster import Told
from tests.fakes import Effect, digest
from tests.unit.deployer.crashing import persistently

BLOBS = {"cats.keras": "cats", "Dogs_v2.keras": "dogs-v2"}
CONTENTS = [b"one", b"two", b"three", b"garbage"]
REFUSED = b"garbage"
REFUSAL = NotAModel("It is no model.", hint="Save it again.", stage=Stage.SCAN)
FAILING = [
    "workloads.apply",
    "workloads.scale",
    "documents.write",
    "servables.upload",
    "uploads.tag",
    "cluster.begin_pool",
]

blobs = st.sampled_from(sorted(BLOBS))
contents = st.sampled_from(CONTENTS)


class AnyHistory(RuleBasedStateMachine):
    """Two models on one GPU, converted in the function or as Jobs. ``dropped``: what lies in the drop container, by blob."""

    @initialize(
        gpus=st.integers(1, 2), first=st.sampled_from(sorted(BLOBS)), where=st.sampled_from(["function", "job"])
    )
    def begin(self, gpus: int, first: str, where: Where) -> None:
        self.deployed = Deployed(gpus=gpus, pool_count=gpus, jobs=replace(IN_FUNCTION, where=where))
        self.deployed.exporter.refused[REFUSED] = REFUSAL
        self.deployed.world.watch = self.seen
        self.dropped: dict[str, bytes] = {}
        self.numbers: dict[str, int] = {}
        self.identities: dict[tuple[str, int], str] = {}
        self.drop_and_wait(first, b"one", 120)

    def seen(self, effect: Effect) -> None:
        if effect.name.startswith("servables."):
            self.deployed.servables.assert_whole()

    @rule(blob=blobs, content=contents, event=st.booleans())
    def drop(self, blob: str, content: bytes, event: bool) -> None:
        self.deployed.store.drop(blob, content, event=event)
        self.dropped[blob] = content

    @rule(blob=blobs, content=contents, seconds=st.sampled_from([3, 15, 60, 600]))
    def drop_and_wait(self, blob: str, content: bytes, seconds: int) -> None:
        self.drop(blob, content, True)
        self.deployed.run(seconds)

    @rule(blob=blobs)
    def tell_again(self, blob: str) -> None:
        """A duplicate of an event, late."""
        self.deployed.store.events.append(blob)

    @rule()
    def reorder(self) -> None:
        self.deployed.store.events.reverse()

    @rule(blob=blobs)
    def delete(self, blob: str) -> None:
        self.deployed.store.blobs.pop(blob, None)
        self.dropped.pop(blob, None)

    @rule(blob=blobs, text=st.sampled_from(["gpus: 1", "gpus: 0", "replicas: 2", "top: 3", "rollout: replace"]))
    def options(self, blob: str, text: str) -> None:
        self.deployed.store.drop(blob.replace(".keras", ".yaml"), text)

    @rule(blob=blobs)
    def ask(self, blob: str) -> None:
        if self.deployed.state.find(BLOBS[blob]) is not None:
            persistently(self.deployed, lambda: self.deployed.request(BLOBS[blob]))

    @rule(kind=st.sampled_from(["sleep", "wake", "hold"]))
    def order(self, kind: Any) -> None:
        persistently(self.deployed, lambda: self.deployed.control.order(kind, 5))

    @rule(seconds=st.sampled_from([1, 5, 20, 120, 900]))
    def go_on(self, seconds: int) -> None:
        self.deployed.run(seconds)

    @rule()
    def timers(self) -> None:
        persistently(self.deployed, self.deployed.sweep.run)
        persistently(self.deployed, self.deployed.tick)

    @rule(after=st.integers(1, 25), late=st.booleans())
    def kill(self, after: int, late: bool) -> None:
        """The process ends at one of the next changes."""
        done = max((effect.number for effect in self.deployed.world.effects), default=0)
        self.deployed.world.kill_at(done + after, after=late)

    @rule(name=st.sampled_from(FAILING), times=st.integers(1, 7), late=st.booleans())
    def fail(self, name: str, times: int, late: bool) -> None:
        self.deployed.world.fail(name, Unavailable("storage", "No answer.", "Again."), times=times, after=late)

    @rule(words=st.sampled_from(["AllocationFailed: no capacity", "InternalError: sorry"]))
    def azure_fails(self, words: str) -> None:
        self.deployed.cluster.failures.append(words)

    @rule(blob=blobs, version=st.integers(1, 4))
    def bad_pods(self, blob: str, version: int) -> None:
        failure = PodFailure("CrashLoopBackOff", "exit code 1", fatal=True)
        self.deployed.kubernetes.told[f"tfs-{BLOBS[blob]}-v{version}"] = Told(failure=failure)

    @rule(reason=st.sampled_from(["OOMKilled", "Evicted", "ImagePullBackOff"]), times=st.integers(1, 3))
    def bad_jobs(self, reason: str, times: int) -> None:
        """The next conversions, where they are Jobs, are ended from outside or cannot begin."""
        failure = PodFailure(reason, "its node says so", fatal=reason == "ImagePullBackOff")
        self.deployed.kubernetes.job_failures = [failure] * times

    @invariant()
    def nothing_is_torn(self) -> None:
        for model in BLOBS.values():
            stored = self.deployed.documents.blobs.get(f"models/{model}.json")
            if stored is None:
                continue
            record = ModelRecord.model_validate_json(stored.data)
            self.versions_only_grow(record)
            if record.route is not None:
                assert record.version(record.route.version).state == "serving"
                assert f"{model}/{record.route.version}/saved_model.pb" in self.deployed.servables.blobs, (
                    record.model_dump_json(indent=1, exclude={"decisions", "stages"})
                )
            if record.desired is not None:
                assert f"{model}/{record.desired}/saved_model.pb" in self.deployed.servables.blobs, (
                    record.model_dump_json(indent=1, exclude={"decisions", "stages"})
                )

    def versions_only_grow(self, record: ModelRecord) -> None:
        """One content, one version; a number stands for one content for ever, and none is used twice."""
        numbers = [item.version for item in record.versions]
        assert len(set(numbers)) == len(numbers) and max(numbers, default=0) < record.next_version
        live = [item.identity for item in record.versions if item.state not in GONE]
        assert len(set(live)) == len(live)
        assert record.next_version >= self.numbers.get(record.name, 1)
        self.numbers[record.name] = record.next_version
        for item in record.versions:
            assert self.identities.setdefault((record.name, item.version), item.identity) == item.identity

    def teardown(self) -> None:
        """Left alone, and with what failed taken up again, all comes to rest where the newest good content says."""
        if not hasattr(self, "deployed"):
            return
        self.deployed.world.faults.clear()
        self.deployed.cluster.failures.clear()
        self.deployed.kubernetes.told.clear()
        self.deployed.kubernetes.job_failures.clear()
        for _ in range(14):
            self.deployed.run(400)
            persistently(self.deployed, self.deployed.sweep.run)
            persistently(self.deployed, self.deployed.tick)
        self.nothing_is_torn()
        self.deployed.servables.assert_whole()
        assert not self.deployed.state.cluster().exporting(self.deployed.world.now)
        for blob, model in BLOBS.items():
            record = self.deployed.state.find(model)
            if record is None:
                assert blob not in self.dropped
                continue
            told = record.model_dump_json(indent=1, exclude={"decisions", "stages"})
            assert record.settled, told
            if blob not in self.dropped or record.upload is None:
                continue
            assert record.upload.state in ENDED, told
            assert record.upload.job is None, told
            if record.upload.state in ("published", "serving") and record.desired is not None:
                assert record.version(record.desired).source["sha256"] == digest(self.dropped[blob]), told
            if self.dropped[blob] == REFUSED:
                assert record.upload.state in ("failed", "given_up"), told


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
