"""What holds after every call to the outside, after every step, and once all has come to rest. Says what is torn, and where."""

from dataclasses import dataclass, field

from deployer.glance import glance_of, told_by
from deployer.record import ENDED, GONE, ModelRecord
from deployer.resolution import Upload, newest_uploads
from tests.deployed import Deployed
from tests.fakes import Effect, digest

MODELS = ("cats", "dogs-v2", "birds")


@dataclass
class Holding:
    """Looks at a deployed application from outside: no call of the deployer's.

    ``recalled``: models that somebody has gone back with since their last upload. ``meddled``: another instance was at work
    in the middle of this step, which excuses what it could not know of.
    """

    deployed: Deployed
    refused: bytes
    recalled: set[str] = field(default_factory=set)
    meddled: bool = False
    numbers: dict[str, int] = field(default_factory=dict)
    identities: dict[tuple[str, int], str] = field(default_factory=dict)
    served: dict[str, int] = field(default_factory=dict)

    def record(self, model: str) -> ModelRecord | None:
        """The record as it is stored."""
        stored = self.deployed.documents.blobs.get(f"models/{model}.json")
        return None if stored is None else ModelRecord.model_validate_json(stored.data)

    def after(self, effect: Effect) -> None:
        """After every call: only what is whole is visible, and nothing is taken from under what serves or shall serve."""
        if effect.name.startswith("servables."):
            self.deployed.servables.assert_whole()
        match effect.name:
            case "servables.remove":
                model, number, _ = effect.subject.split("/", 2)
                record = self.record(model)
                if record is not None and record.removed is None:
                    assert int(number) not in _needed(record), f"{effect.subject} of {told(record)}"
            case "workloads.delete_version" if "--bridge" not in effect.subject:
                model, _, number = effect.subject.removeprefix("tfs-").rpartition("-v")
                record = self.record(model)
                assert record is None or int(number) not in _routed(record), f"{effect.subject} of {told(record)}"
            case "workloads.scale" if effect.subject.endswith(" to 0") and not self.meddled:
                model, _, number = effect.subject.removesuffix(" to 0").removeprefix("tfs-").rpartition("-v")
                record = self.record(model)
                assert record is None or record.desired != int(number) or record.asleep, (
                    f"{effect.subject} of {told(record)}"
                )
            case "documents.write" if effect.subject.startswith("models/"):
                self._written(effect.subject.removeprefix("models/").removesuffix(".json"))

    def _written(self, model: str) -> None:
        record = self.record(model)
        if record is None or record.route is None or record.route.version == self.served.get(model):
            return
        name = f"tfs-{model}-v{record.route.version}"
        assert self.deployed.kubernetes.ready(name) or self.meddled, f"requests go to {name}, which does not answer"
        assert record.route.address == f"http://{name}:8501"
        self.served[model] = record.route.version

    def between_steps(self) -> None:
        """What nobody may ever read of a model, whenever they look."""
        for model in MODELS:
            record = self.record(model)
            if record is None:
                continue
            self._versions_only_grow(record)
            assert told_by(self.deployed.documents.blobs[f"models/{model}.json"].metadata) == glance_of(record)
            files = self.deployed.servables.blobs
            for number in (*_routed(record), record.desired):
                assert number is None or f"{model}/{number}/saved_model.pb" in files, told(record)
            if record.route is not None:
                assert record.version(record.route.version).state == "serving", told(record)
            if record.route is None and record.asleep:
                assert record.rollout is None, told(record)
            if record.bridge is not None and record.bridge.address is not None and record.route is None:
                assert record.version(record.bridge.version).state not in ("failed", "held", "publishing"), told(record)

    def _versions_only_grow(self, record: ModelRecord) -> None:
        """One content, one version; a number stands for one content for ever, and none is used twice."""
        numbers = [item.version for item in record.versions]
        assert len(set(numbers)) == len(numbers)
        assert max(numbers, default=0) < record.next_version
        live = [item.identity for item in record.versions if item.state not in GONE]
        assert len(set(live)) == len(live), told(record)
        assert record.next_version >= self.numbers.get(record.name, 1)
        self.numbers[record.name] = record.next_version
        for item in record.versions:
            assert self.identities.setdefault((record.name, item.version), item.identity) == item.identity

    def state_lost(self) -> None:
        """With the state container goes the memory of what was never published, or is gone: numbers below stay taken."""
        folders = {tuple(name.split("/")[:2]) for name in self.deployed.servables.blobs}
        there = {(model, int(number)) for model, number in folders}
        self.identities = {key: identity for key, identity in self.identities.items() if key in there}
        self.numbers = {}
        for model, number in there:
            self.numbers[model] = max(self.numbers.get(model, 1), number + 1)
        self.recalled.update(MODELS)
        self.served.clear()

    def at_rest(self) -> None:
        """All has come to its end: the newest good content of each model is what is desired, and nothing was forgotten."""
        self.between_steps()
        self.deployed.servables.assert_whole()
        assert not self.deployed.state.cluster().exporting(self.deployed.world.now)
        dropped = newest_uploads(self.deployed.store.listing(""))
        for model in MODELS:
            record = self.record(model)
            if record is None:
                assert model not in dropped, f"nobody took {dropped[model]}"
                continue
            assert record.settled, told(record)
            assert record.upload is None or record.upload.job is None, told(record)
            self._history_has_no_gap(record)
            if record.removed is not None:
                self._all_of_it_is_gone(record)
            elif model in dropped:
                self._taken(record, dropped[model])
            elif self.deployed.retire_deleted:
                assert record.upload is None or record.upload.state == "deleted", told(record)
            if model in self.served and record.removed is None and record.upload is not None:
                assert record.desired is not None or record.upload.state in ("deleted", "failed"), told(record)

    def _taken(self, record: ModelRecord, dropped: Upload) -> None:
        upload = record.upload
        assert upload is not None and upload.state in ENDED | {"unfinished"}, told(record)
        if upload.state != "removed":
            assert upload.fingerprint == dropped.fingerprint, told(record)
        content = self.deployed.store.blobs[dropped.primary.name].data
        if content == self.refused:
            assert upload.state in ("failed", "given_up", "removed", "deleted"), told(record)
        if upload.state in ("published", "serving") and record.name not in self.recalled:
            assert record.desired == upload.version is not None, told(record)
            if not dropped.directory:
                assert record.version(upload.version).source["sha256"] == digest(content), told(record)
        if upload.state == "held" and upload.version is not None:
            assert record.desired != upload.version, told(record)

    def _all_of_it_is_gone(self, record: ModelRecord) -> None:
        assert record.removed is not None and record.removed.emptied, told(record)
        assert not [name for name in self.deployed.servables.blobs if name.startswith(f"{record.name}/")]
        if self.deployed.cluster.state().power == "Stopped":  # its objects go when it runs again
            return
        assert record.removed.done, told(record)
        labels = [item["metadata"].get("labels", {}).get("app") for item in self.deployed.kubernetes.objects.values()]
        assert record.name not in labels

    def _history_has_no_gap(self, record: ModelRecord) -> None:
        numbers = [entry.number for entry in self.deployed.state.history(record, newest=10_000)]
        assert numbers == list(range(record.decided - len(numbers) + 1, record.decided + 1)), told(record)

    def asked_again(self) -> None:
        """After everybody has asked: of each model exactly the desired version runs, is selected, and answers."""
        records = [
            record for model in MODELS if (record := self.record(model)) is not None and record.desired is not None
        ]
        for record in records:
            assert self.deployed.serving(record.name) == record.desired, told(record)
            running = {
                number: count for number, count in self.deployed.kubernetes.replicas(record.name).items() if count
            }
            assert list(running) == [record.desired], f"{running} of {told(record)}"
            assert self.deployed.kubernetes.selected(record.name) == record.desired
            assert record.bridge is None and not self.deployed.kubernetes.replicas(f"{record.name}--bridge")

    def gpus_wanted(self) -> int:
        """What all desired versions take together."""
        records = [
            record for model in MODELS if (record := self.record(model)) is not None and record.desired is not None
        ]
        wanted = [record.version(record.desired).serve for record in records if record.desired is not None]
        return sum(serve.gpus * serve.replicas.min for serve in wanted)


def _routed(record: ModelRecord) -> set[int]:
    route = record.route
    return set() if route is None else {route.version} | ({route.canary.version} if route.canary is not None else set())


def _needed(record: ModelRecord) -> set[int | None]:
    return {record.desired, record.previous, *_routed(record)}


def told(record: ModelRecord | None) -> str:
    """The record, for who must find out what happened."""
    return (
        "no record" if record is None else record.model_dump_json(indent=1, exclude={"stages"}, exclude_defaults=True)
    )
