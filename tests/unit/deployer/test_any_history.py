"""Whatever users, the platform and the cloud do, in whatever order: what holds after every step, and where it all ends."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from deployer.errors import AzureRefused, SlipwayError, Unavailable
from deployer.export_jobs import Where
from deployer.figures import Tally
from deployer.ports import PodFailure
from deployer.record import OrderKind
from exporter import ExportError, NotAModel, Stage, TimedOut
from exporter.manifest import TensorSpec
from tests.deployed import IN_FUNCTION, Deployed
from tests.fake_cluster import Told
from tests.fakes import Effect, Message
from tests.unit.deployer.bundles import bundle_index, saved_model
from tests.unit.deployer.crashing import persistently
from tests.unit.deployer.holding import MODELS, Holding

BLOBS = {"cats.keras": "cats", "Dogs_v2.keras": "dogs-v2"}
PARTS = ("birds/saved_model.pb", "birds/variables/variables.index", "birds/variables/variables.data-00000-of-00001")
CONTENTS = [b"one", b"two", b"three", b"garbage"]
REFUSED = b"garbage"
REFUSAL = NotAModel("It is no model.", hint="Save it again.", stage=Stage.SCAN)
LATE = TimedOut("It took too long.", hint="Raise the limit.", stage=Stage.LOAD)
FAILING = [
    "documents.read", "documents.write", "documents.list", "documents.lease", "lease.check", "servables.upload",
    "servables.list", "servables.read", "servables.remove", "servables.copy", "uploads.list", "uploads.download",
    "uploads.tag", "queue.ask", "workloads.apply", "workloads.scale", "workloads.delete_version", "workloads.of",
    "workloads.nodes", "workloads.selected", "server.predict", "cluster.state", "cluster.operation", "cluster.begin_pool",
    "cluster.begin_start", "cluster.begin_stop",
]  # fmt: skip
REFUSALS = [
    AzureRefused("azure_throttled", "Azure takes no further requests for now.", retry_after=90),
    AzureRefused("azure_busy", "Another operation is under way."),
    AzureRefused("azure_capacity", "There is no free Standard_NC4as_T4_v3 just now."),
    AzureRefused("azure_permission", "The identity lacks a role."),
]
OPTIONS = [
    "gpus: 1", "gpus: 0", "replicas: 2", "top: 3", "rollout: replace", "rollout: surge", "keep_versions: 1",
    "accept_schema_change: true", "rollout: canary\ncanary: {share: 20, minutes: 2}",
    "rollout: canary\ncanary: {share: 20, minutes: 2}\nkeep_versions: 1", "unknown: key",
]  # fmt: skip

BAD_PODS = [
    Told(answer=7.0), Told(failure=PodFailure("CrashLoopBackOff", "exit code 1", fatal=True)),
    Told(failure=PodFailure("NotReady", "", fatal=False)),
]  # fmt: skip

blobs = st.sampled_from(sorted(BLOBS))
models = st.sampled_from(MODELS)
contents = st.sampled_from(CONTENTS)


class AnyHistory(RuleBasedStateMachine):
    """Three models, one a directory without a GPU's need at first, on one or two GPUs of one pool or of two.

    They are converted in the function or as Jobs.
    """

    @initialize(
        gpus=st.integers(1, 2), spare=st.booleans(), bridged=st.booleans(), retire=st.booleans(), first=blobs,
        where=st.sampled_from(["function", "job"]),
    )  # fmt: skip
    def begin(self, gpus: int, spare: bool, bridged: bool, retire: bool, first: str, where: Where) -> None:
        self.deployed = Deployed(
            gpus=gpus, pool_count=gpus, retire_deleted=retire, jobs=replace(IN_FUNCTION, where=where)
        )
        self.deployed.bridged = bridged
        if spare:
            self.deployed.cluster.pools = ("gpu", "spare")
        self.deployed.restart()
        self.deployed.exporter.refused[REFUSED] = REFUSAL
        self.holding = Holding(self.deployed, REFUSED)
        self.deployed.world.watch = self.seen
        self.meddlers: list[tuple[int, Callable[[], object]]] = []  # each at the change of that number
        self.deployed.store.drop("birds.yaml", "gpus: 0", event=False)
        self.drop_and_wait(first, b"one", 120)

    def seen(self, effect: Effect) -> None:
        self.holding.after(effect)
        while effect.number and self.meddlers and self.meddlers[0][0] <= effect.number:
            _, meddle = self.meddlers.pop(0)
            self.holding.meddled = True
            try:
                meddle()
            except (SlipwayError, ExportError):
                continue  # its own caller's to repeat

    def calmly(self, call: Callable[[], object]) -> None:
        persistently(self.deployed, call)

    @rule(blob=blobs, content=contents, event=st.booleans())
    def drop(self, blob: str, content: bytes, event: bool) -> None:
        self.deployed.store.drop(blob, content, event=event)
        self.holding.recalled.discard(BLOBS[blob])

    @rule(blob=blobs, content=contents, seconds=st.sampled_from([3, 15, 60, 600]))
    def drop_and_wait(self, blob: str, content: bytes, seconds: int) -> None:
        self.drop(blob, content, True)
        self.deployed.run(seconds)

    @rule(
        order=st.permutations(PARTS),
        count=st.integers(1, 3),
        fill=st.sampled_from("xy"),
        seconds=st.sampled_from([0, 3, 70]),
    )
    def drop_parts(self, order: list[str], count: int, fill: str, seconds: int) -> None:
        """Some files of a directory, in any order, all in one go or with pauses."""
        for name in order[:count]:
            self.part(name, fill)
            if seconds:
                self.deployed.run(seconds)

    def part(self, name: str, fill: str) -> None:
        content: bytes | str = fill * 300
        if name.endswith(".pb"):
            content = saved_model(variables=True)
        elif name.endswith(".index"):
            content = bundle_index({0: 300})
        self.deployed.store.drop(name, content)
        self.holding.recalled.discard("birds")

    @rule(
        blob=blobs, text=st.sampled_from(OPTIONS), number=st.integers(0, 9), seconds=st.sampled_from([3, 15, 60, 600]),
        told=st.sampled_from([*[Told()] * 4, *BAD_PODS]),
    )  # fmt: skip
    def release(self, blob: str, text: str, number: int, seconds: int, told: Told) -> None:
        """Another content with other options, whose version may be no good."""
        record = self.holding.record(BLOBS[blob])
        self.deployed.kubernetes.told[f"tfs-{BLOBS[blob]}-v{record.next_version if record else 1}"] = told
        self.deployed.store.drop(blob.replace(".keras", ".yaml"), text, event=False)
        self.drop_and_wait(blob, f"content {number}".encode(), seconds)

    @rule(blob=blobs)
    def tell_again(self, blob: str) -> None:
        """A duplicate of an event, late."""
        self.deployed.store.events.append(blob)

    @rule()
    def reorder(self) -> None:
        self.deployed.store.events.reverse()

    @rule(model=models)
    def duplicate_message(self, model: str) -> None:
        """The queue delivers at least once, and in any order."""
        self.deployed.queue.messages.insert(0, Message(model, self.deployed.world.now))

    @rule()
    def lose_messages(self) -> None:
        self.deployed.queue.messages.clear()
        self.deployed.store.events.clear()

    @rule(blob=st.sampled_from([*BLOBS, *PARTS]))
    def delete(self, blob: str) -> None:
        self.deployed.store.blobs.pop(blob, None)

    @rule(blob=st.sampled_from([*BLOBS, "birds.keras"]), text=st.sampled_from(OPTIONS))
    def options(self, blob: str, text: str) -> None:
        self.deployed.store.drop(blob.replace(".keras", ".yaml"), text)

    @rule(blob=blobs, content=contents)
    def overwrite_during_conversion(self, blob: str, content: bytes) -> None:
        def overwrite() -> None:
            self.deployed.exporter.during = lambda: None
            self.drop(blob, content, True)

        self.deployed.exporter.during = overwrite

    @rule(times=st.integers(1, 6))
    def conversions_time_out(self, times: int) -> None:
        self.deployed.exporter.failures += [LATE] * times

    @rule(changed=st.booleans())
    def change_schema(self, changed: bool) -> None:
        """The models to come take another input."""
        spec = {"picture": TensorSpec(dtype="string", shape=[None])} if changed else {}
        self.deployed.exporter.inputs = spec

    @rule(model=models)
    def ask(self, model: str) -> None:
        self.calmly(lambda: self.ask_now(model))

    def ask_now(self, model: str) -> None:
        if self.deployed.state.find(model) is not None:
            self.deployed.request(model)

    @rule(model=models, to=st.sampled_from([None, 1, 2, 3]))
    def roll_back(self, model: str, to: int | None) -> None:
        self.calmly(lambda: self.roll_back_now(model, to))

    def roll_back_now(self, model: str, to: int | None) -> None:
        before = self.holding.record(model)
        self.holding.recalled.add(model)
        after = self.deployed.control.rollbacks.back(model, to, by="command")
        assert before is None or after.desired == to or to is None

    @rule(model=models)
    def retry(self, model: str) -> None:
        self.calmly(lambda: self.deployed.control.retry(model))

    @rule(model=models, uploads=st.booleans())
    def remove(self, model: str, uploads: bool) -> None:
        self.calmly(lambda: self.deployed.control.remove(model, uploads=uploads))
        self.holding.served.pop(model, None)

    @rule(kind=st.sampled_from(["sleep", "wake", "hold"]))
    def order(self, kind: Any) -> None:
        self.calmly(lambda: self.deployed.control.order(kind, 5))

    @rule(seconds=st.sampled_from([1, 5, 20, 120, 900]))
    def go_on(self, seconds: int) -> None:
        self.deployed.run(seconds)

    @rule()
    def timers(self) -> None:
        self.calmly(self.deployed.sweep.run)
        self.calmly(self.deployed.tick)

    @rule(looks=st.integers(1, 12))
    def idle(self, looks: int) -> None:
        """Nobody asks for up to an hour, and the timers fire."""
        for _ in range(looks):
            self.deployed.run(299)
            self.timers()

    @rule(model=models, errors=st.sampled_from([0, 9]))
    def trial(self, model: str, errors: int) -> None:
        """The proxy notes how the requests to a canary ended."""
        record = self.holding.record(model)
        if record is not None and record.route is not None and record.route.canary is not None:
            tally = Tally(minutes={int(self.deployed.world.now.timestamp() // 60): (40, errors)})
            path = f"figures/{model}/{record.route.canary.version}/instance"
            self.deployed.documents.store(path, tally.model_dump_json().encode())

    @rule(after=st.integers(1, 25), late=st.booleans())
    def kill(self, after: int, late: bool) -> None:
        """The process ends at one of the next changes."""
        self.deployed.world.kill_at(self.changes() + after, after=late)

    @rule(name=st.sampled_from(FAILING), times=st.integers(1, 7), late=st.booleans())
    def fail(self, name: str, times: int, late: bool) -> None:
        self.deployed.world.fail(name, Unavailable("storage", "No answer.", "Again."), times=times, after=late)

    @rule(name=st.sampled_from(FAILING[-5:]), refusal=st.sampled_from(REFUSALS), times=st.integers(1, 7))
    def azure_refuses(self, name: str, refusal: AzureRefused, times: int) -> None:
        self.deployed.world.fail(name, refusal, times=times)

    @rule(
        words=st.sampled_from(["AllocationFailed: no capacity", "azure_capacity: none is free", "InternalError: sorry"])
    )
    def azure_fails(self, words: str) -> None:
        self.deployed.cluster.failures.append(words)

    @rule(pool=st.sampled_from(["gpu", "spare"]), none=st.booleans())
    def quota(self, pool: str, none: bool) -> None:
        (self.deployed.cluster.without_quota.add if none else self.deployed.cluster.without_quota.discard)(pool)

    @rule(
        name=st.sampled_from(["tfs-cats-v", "tfs-dogs-v2-v", "tfs-birds-v", "tfs-cats--bridge-v"]), version=st.integers(1, 4),
        told=st.sampled_from([Told(), *BAD_PODS]),
    )  # fmt: skip
    def pods(self, name: str, version: int, told: Told) -> None:
        self.deployed.kubernetes.told[f"{name}{version}"] = told

    @rule(
        after=st.integers(1, 25), model=models,
        what=st.sampled_from(["advance", "sweep", "tick", "take", "ask", "roll back", "remove", "drop", "sleep", "wake"]),
    )  # fmt: skip
    def meddle(self, after: int, model: str, what: str) -> None:
        """Another instance does something in between two calls of one that is at work."""
        blob = next((blob for blob, name in BLOBS.items() if name == model), PARTS[0])
        calls: dict[str, Callable[[], object]] = {
            "advance": lambda: self.deployed.rollouts.advance(model),
            "sweep": self.deployed.sweep.run,
            "tick": self.deployed.teardown.run,
            "take": lambda: self.deployed.uploads.take(blob),
            "ask": lambda: self.ask_now(model),
            "roll back": lambda: self.roll_back_now(model, None),
            "remove": lambda: self.deployed.control.remove(model, uploads=False),
            "drop": lambda: self.drop(blob, b"two", True) if blob in BLOBS else self.part(blob, "x"),
            "sleep": lambda: self.commanded("sleep"),
            "wake": lambda: self.commanded("wake"),
        }
        self.meddlers.append((self.changes() + after, calls[what]))

    def commanded(self, kind: OrderKind) -> None:
        self.deployed.control.order(kind, 5)

    @rule()
    def lose_state(self) -> None:
        """The state container is emptied by mistake, and made anew from what else there is."""
        self.deployed.documents.blobs.clear()
        self.deployed.documents.leases.clear()
        self.holding.state_lost()
        self.calmly(self.deployed.doctor.repair)

    def changes(self) -> int:
        return max((effect.number for effect in self.deployed.world.effects), default=0)

    @rule(reason=st.sampled_from(["OOMKilled", "Evicted", "ImagePullBackOff"]), times=st.integers(1, 3))
    def bad_jobs(self, reason: str, times: int) -> None:
        """The next conversions, where they are Jobs, are ended from outside or cannot begin."""
        failure = PodFailure(reason, "its node says so", fatal=reason == "ImagePullBackOff")
        self.deployed.kubernetes.job_failures = [failure] * times

    @invariant()
    def nothing_is_torn(self) -> None:
        if hasattr(self, "holding"):
            self.holding.between_steps()
            self.holding.meddled = False

    def teardown(self) -> None:
        """Left alone, all comes to rest where the newest good content says; asked again, exactly that answers."""
        if not hasattr(self, "deployed"):
            return
        self.heal()
        self.rest(14)
        self.holding.at_rest()
        for model in MODELS:
            self.calmly(lambda model=model: self.ask_now(model))  # type: ignore[misc]  # bound
        self.rest(3)
        if self.holding.gpus_wanted() <= self.deployed.gpus:
            self.holding.asked_again()

    def heal(self) -> None:
        self.meddlers.clear()
        self.deployed.world.faults.clear()
        self.deployed.cluster.failures.clear()
        self.deployed.cluster.without_quota.clear()
        self.deployed.kubernetes.told.clear()
        self.deployed.kubernetes.job_failures.clear()
        self.deployed.exporter.failures.clear()
        self.deployed.exporter.during = lambda: None

    def rest(self, rounds: int) -> None:
        for _ in range(rounds):
            self.deployed.run(400)
            self.calmly(self.deployed.sweep.run)
            self.calmly(self.deployed.tick)


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
