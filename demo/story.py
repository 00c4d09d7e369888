"""The story of the demo: each step does what a user would, shows what happens, and checks what it claims.

train → drop v1 → classify → drop v2 under load → drop a broken file → leave it alone → wake
"""

import asyncio
import time

import aiohttp
from azure.storage.blob import BlobServiceClient

from demo.claims import answered_by, check, none_failed
from demo.client import Client, Document, Kubernetes, until, until_so
from demo.digits import TRAINING, drawing, load, png
from demo.errors import DemoError
from demo.load import SteadyStream
from demo.night import Night
from demo.show import Show
from demo.training import Trained
from localcloud.endpoints import Endpoints

MODEL = "digits"

_SERVING_SECONDS = 90.0
_REFUSED_SECONDS = 60.0
_PER_SECOND = 10.0
_COMPARED = 100  # unseen digits on which the versions are compared
_DRAWN = 5  # the digit, among the unseen, that is shown: one that v1, too, names rightly

_WORDS = {
    "scan": "scanned", "convert": "converted and checked", "publish": "published", "wake": "awaited a GPU node",
    "apply": "applied", "pods": "awaited pods", "prove": "proven", "switch": "switched", "retire": "retired",
}  # fmt: skip


class Story:
    """The part of the story that plays in the cloud."""

    def __init__(self, show: Show, session: aiohttp.ClientSession, endpoints: Endpoints, trained: Trained) -> None:
        self._show = show
        self._trained = trained
        self._client = Client(session, str(endpoints.functions_url), str(endpoints.function_key))
        self._kubernetes = Kubernetes(session, str(endpoints.kubernetes_url), str(endpoints.kubernetes_token))
        self._storage = endpoints.storage_connection_string
        self._unseen = load()[TRAINING:]
        self._shown: set[tuple[str, str]] = set()

    async def play(self) -> None:
        """All of it, in order.

        Raises:
            DemoError: a claim is not so, or something awaited did not come.
        """
        await self._first_version()
        first = await self._classify()
        async with SteadyStream(self._client, MODEL, self._unseen, per_second=_PER_SECOND) as stream:
            await self._second_version(stream, first)
            await self._broken_file(stream)
        night = Night(self._show, self._client, self._kubernetes, MODEL, self._unseen[_DRAWN + 1])
        await night.falls(stream.tally)
        await night.ends()

    async def _first_version(self) -> None:
        with self._show.chapter(
            "drop v1", "Drop digits.keras and digits.labels.txt into the blob container 'models'"
        ) as chapter:
            labels = (self._trained.folder / "v1" / "digits.labels.txt").read_bytes()
            await self._upload("digits.labels.txt", labels)
            began = time.perf_counter()
            etag = await self._upload("digits.keras", self._trained.model("v1"))
            model = await self._served(etag)
            took = time.perf_counter() - began
            check(model["version"] == 1, "the first version is v1")
            pods = await self._kubernetes.pods()
            check(len(pods) == 1 and pods[0].startswith("tfs-digits-v1"), f"one pod serves v1 (pods: {pods})")
            self._show.say(f"dropped to served in {took:.1f} s; Kubernetes has pod {pods[0]}")
            chapter.outcome = f"an endpoint after {took:.1f} s"

    async def _classify(self) -> float:
        """Classifies one PNG for all to see, and some more; returns the share that v1 gets right."""
        with self._show.chapter("classify", "Classify a PNG over HTTP") as chapter:
            digit = self._unseen[_DRAWN]
            answer = await self._client.classify(MODEL, png(digit))
            answered_by(1, answer)
            check(len(answer.classes) == 3, "three classes are answered, as asked for")
            self._show.command(
                f"curl -H 'x-functions-key: …' --data-binary @{digit.name}.png \\",
                f"     {self._client.url}/api/classify/digits?top=3",
            )
            lines = [f"v1 says, in {answer.seconds * 1000:.0f} ms:", *self._show.bars(answer.classes)]
            self._show.beside(drawing(digit), ["", "", *lines])
            share = await self._share_right(1)
            chapter.outcome = f"“{answer.best}”, {answer.classes[0][1]:.2f}"
        return share

    async def _second_version(self, stream: SteadyStream, first: float) -> None:
        with self._show.chapter(
            "drop v2 under load",
            f"Drop the better model under the same name, while {_PER_SECOND:.0f} requests a second come in",
        ) as chapter:
            began = time.perf_counter()
            etag = await self._upload("digits.keras", self._trained.model("v2"))
            model = await self._served(etag)
            took = time.perf_counter() - began
            check(model["version"] == 2, "the second version is v2")
            await self._some_answers(stream, 2)
            second = await self._share_right(2)
            tally = stream.tally
            none_failed(tally)
            check(tally.by(1) > 0 and tally.by(2) > 0, "both versions answered in their time")
            self._show.done("no request failed", None, f"{tally.by(1)} answered by v1, {tally.by(2)} by v2, 0 failed")
            self._show.say(f"median wait {tally.median * 1000:.0f} ms, longest {tally.longest:.1f} s")
            self._show.say(f"of the same {_COMPARED} unseen digits v1 named {first:.0%} rightly, v2 {second:.0%}")
            digit = self._unseen[_DRAWN]
            answer = await self._client.classify(MODEL, png(digit))
            check(answer.best == digit.name, f"v2 names the digit drawn above “{digit.name}”")
            self._show.say(f"the digit above is “{answer.best}”, {answer.classes[0][1]:.4f}, to v2")
            check(second > first, "what v2 serves is better than what v1 served")
            chapter.outcome = f"v2 after {took:.1f} s, no request failed"

    async def _broken_file(self, stream: SteadyStream) -> None:
        with self._show.chapter(
            "drop a broken file", "Drop a broken file under the same name: half of a .keras"
        ) as chapter:
            whole = self._trained.model("v2")
            etag = await self._upload("digits.keras", whole[: len(whole) // 2])
            self._show.doing("awaiting its refusal")

            async def refused() -> Document | None:
                model = await self._client.model(MODEL)
                return model if model and model["upload"]["state"] == "failed" and _etag(model) == etag else None

            model = await until("the broken file to be refused", refused, seconds=_REFUSED_SECONDS)
            self._new_stages(model, version=None)
            reason, hint = model["upload"]["reason"], model["upload"]["hint"]
            check(bool(reason) and bool(hint), "a refusal has a reason and says what to do")
            self._show.say(reason, "yellow")
            self._show.say(hint, "dim")
            tags = await asyncio.to_thread(_tags, self._storage, "digits.keras")
            check(
                tags.get("slipway_state") == "failed", f"the blob's own index tags say that it failed (they say {tags})"
            )
            self._show.done("told at the blob", None, f"index tag slipway_state={tags['slipway_state']}")
            check(model["version"] == 2, "v2 goes on serving")
            answer = await self._client.classify(MODEL, png(self._unseen[1]))
            answered_by(2, answer)
            none_failed(stream.tally)
            self._show.done(
                "v2 serves on", answer.seconds, f"“{answer.best}” {answer.classes[0][1]:.4f}, still no request failed"
            )
            chapter.outcome = f"refused at {model['upload']['stage']}; v2 serves on"

    async def _upload(self, name: str, data: bytes) -> str:
        """Uploads as any user would, with the ordinary SDK; returns the ETag."""
        began = time.perf_counter()
        etag = await asyncio.to_thread(_put, self._storage, name, data)
        self._show.done(
            "uploaded", time.perf_counter() - began, f"{name}, {len(data) / 1024:.0f} KiB, by azure.storage.blob"
        )
        return etag

    async def _served(self, etag: str) -> Document:
        """Shows each stage of the upload as it ends, until its version serves."""

        async def served() -> Document | None:
            model = await self._client.model(MODEL)
            if model is None or model["upload"] is None or _etag(model) != etag:
                self._show.doing("waiting for the blob to be noticed")
                return None
            self._new_stages(model, version=model["upload"]["version"])
            upload, rollout = model["upload"], model["rollout"]
            if upload["state"] == "failed":
                raise DemoError(f"The model was refused at {upload['stage']}: {upload['reason']} {upload['hint']}")
            self._show.doing(f"{rollout['step']}: {rollout['message']}" if rollout else upload["state"])
            done = {stage["stage"] for stage in model["timeline"] if stage["version"] == model["version"]}
            return model if upload["version"] == model["version"] is not None and "switch" in done else None

        return await until("the model to be served", served, seconds=_SERVING_SECONDS)

    def _new_stages(self, model: Document, *, version: int | None) -> None:
        """Shows the stages that have ended since the last look: of this version, and of uploads not yet numbered."""
        for stage in model["timeline"]:
            key = (stage["stage"], stage["started"])
            if key not in self._shown and stage["version"] in (None, version):
                self._shown.add(key)
                show = self._show.done if stage["outcome"] == "done" else self._show.refused
                detail = stage["detail"] if stage["outcome"] == "done" else f"refused at {stage['stage']}"
                show(_WORDS.get(stage["stage"], stage["stage"]), stage["seconds"], detail or "")

    async def _some_answers(self, stream: SteadyStream, version: int) -> None:
        async def answered() -> bool:
            return stream.tally.by(version) >= _PER_SECOND

        await until_so(f"answers by v{version}", answered, seconds=_SERVING_SECONDS)

    async def _share_right(self, version: int) -> float:
        """The share of some unseen digits that the served version names rightly."""
        right = 0
        for digit in self._unseen[:_COMPARED]:
            answer = await self._client.classify(MODEL, png(digit))
            answered_by(version, answer)
            right += answer.best == digit.name
        return right / _COMPARED


def _etag(model: Document) -> str:
    return str(model["upload"]["etag"]).strip('"')


def _put(storage: str, name: str, data: bytes) -> str:
    with BlobServiceClient.from_connection_string(storage, retry_total=1) as service:
        answer = service.get_blob_client("models", name).upload_blob(data, overwrite=True)
    return str(answer["etag"]).strip('"')


def _tags(storage: str, name: str) -> dict[str, str]:
    with BlobServiceClient.from_connection_string(storage, retry_total=1) as service:
        return dict(service.get_blob_client("models", name).get_blob_tags())
