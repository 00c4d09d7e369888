"""The story of the demo: each step does what a user would, shows what happens, and checks what it claims.

train → drop v1 → classify → drop v2 under load → drop a broken file → leave it alone → wake
"""

import asyncio
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from azure.storage.blob import BlobServiceClient

from demo.client import Answer, Client, Document, Kubernetes, until
from demo.digits import TRAINING, drawing, load, png
from demo.errors import DemoError, check
from demo.load import SteadyStream, Tally
from demo.show import Show
from localcloud.endpoints import Endpoints
from localcloud.process import spawn, stop

MODEL = "digits"
REPOSITORY = Path(__file__).resolve().parents[1]

_TRAINING_SECONDS = 120.0
_SERVING_SECONDS = 90.0
_REFUSED_SECONDS = 60.0
_ASLEEP_SECONDS = 60.0
_WAKE_SECONDS = 60
_PER_SECOND = 10.0
_COMPARED = 60  # unseen digits on which the versions are compared

_WORDS = {
    "scan": "scanned", "convert": "converted, checked", "publish": "published", "wake": "GPU node up",
    "apply": "applied", "pods": "pods ready", "prove": "proven", "switch": "switched", "retire": "old one retired",
}  # fmt: skip


@dataclass(frozen=True)
class Trained:
    """The folder with both models, and how good each is on unseen digits."""

    folder: Path
    accuracy: dict[str, float]

    def model(self, version: str) -> bytes:
        """The saved model's bytes."""
        return (self.folder / version / "digits.keras").read_bytes()


async def train(show: Show, folder: Path, log: Path) -> Trained:
    """Trains both versions in a process of its own, which ends with this one."""
    with show.chapter("A data scientist trains a small CNN on 8 × 8 handwritten digits") as chapter:
        show.doing("training")
        began = time.perf_counter()
        process = await spawn([sys.executable, "-m", "demo.train", str(folder)], log=log, cwd=REPOSITORY)
        try:
            status = await asyncio.wait_for(process.wait(), _TRAINING_SECONDS)
        except TimeoutError as error:
            raise DemoError(f"The training took longer than {_TRAINING_SECONDS:.0f} s.") from error
        finally:
            await stop(process)
        check(status == 0, f"the training ends with status 0 (it was {status}; see {log})")
        accuracy: dict[str, float] = json.loads((folder / "training.json").read_text(encoding="utf-8"))
        show.done("trained", time.perf_counter() - began, "in a process of its own")
        show.say(
            f"  v1, saved too early: {accuracy['v1']:.1%} of unseen digits right; v2, trained on: {accuracy['v2']:.1%}"
        )
        check(accuracy["v2"] > accuracy["v1"], "v2 is better than v1")
        chapter.outcome = f"v1 {accuracy['v1']:.0%}, v2 {accuracy['v2']:.0%} right"
    return Trained(folder, accuracy)


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
        await self._idle(stream.tally)
        await self._wake()

    async def _first_version(self) -> None:
        with self._show.chapter("Drop digits.keras and digits.labels.txt into the blob container 'models'") as chapter:
            labels = (self._trained.folder / "v1" / "digits.labels.txt").read_bytes()
            await self._upload("digits.labels.txt", labels)
            began = time.perf_counter()
            etag = await self._upload("digits.keras", self._trained.model("v1"))
            model = await self._served(etag)
            took = time.perf_counter() - began
            check(model["version"] == 1, "the first version is v1")
            pods = await self._kubernetes.pods()
            check(len(pods) == 1 and pods[0].startswith("tfs-digits-v1"), f"one pod serves v1 (pods: {pods})")
            self._show.say(f"  dropped to served in {took:.1f} s; Kubernetes has pod {pods[0]}")
            chapter.outcome = f"an endpoint after {took:.1f} s"

    async def _classify(self) -> float:
        """Classifies one PNG for all to see, and some more; returns the share that v1 gets right."""
        with self._show.chapter("Classify a PNG over HTTP") as chapter:
            digit = self._unseen[0]
            answer = await self._client.classify(MODEL, png(digit))
            _must_be(answer, 1)
            check(len(answer.classes) == 3, "three classes are answered, as asked for")
            self._show.say(
                f"curl -H 'x-functions-key: …' --data-binary @digit.png {self._client.url}/api/classify/digits?top=3",
                "dim",
            )
            lines = [f"v1 says, in {answer.seconds * 1000:.0f} ms:", *self._show.bars(answer.classes)]
            self._show.beside(drawing(digit), ["", *lines])
            share = await self._share_right(1)
            chapter.outcome = f"“{answer.best}”, {answer.classes[0][1]:.2f}"
        return share

    async def _second_version(self, stream: SteadyStream, first: float) -> None:
        with self._show.chapter(
            f"Drop the better model under the same name, while {_PER_SECOND:.0f} requests a second come in"
        ) as chapter:
            began = time.perf_counter()
            etag = await self._upload("digits.keras", self._trained.model("v2"))
            model = await self._served(etag)
            took = time.perf_counter() - began
            check(model["version"] == 2, "the second version is v2")
            await self._some_answers(stream, 2)
            second = await self._share_right(2)
            tally = stream.tally
            _none_failed(tally)
            check(tally.by(1) > 0 and tally.by(2) > 0, "both versions answered in their time")
            self._show.done("no request failed", None, f"{tally.by(1)} answered by v1, {tally.by(2)} by v2, 0 failed")
            self._show.say(f"  median wait {tally.median * 1000:.0f} ms, longest {tally.longest:.1f} s")
            self._show.say(f"  of the same {_COMPARED} unseen digits v1 named {first:.0%} rightly, v2 {second:.0%}")
            check(second > first, "what v2 serves is better than what v1 served")
            chapter.outcome = f"v2 after {took:.1f} s, no request failed"

    async def _broken_file(self, stream: SteadyStream) -> None:
        with self._show.chapter("Drop a broken file under the same name: half of a .keras") as chapter:
            whole = self._trained.model("v2")
            etag = await self._upload("digits.keras", whole[: len(whole) // 2])
            self._show.doing("awaiting its refusal")

            async def refused() -> Document | None:
                model = await self._client.model(MODEL)
                return model if model and model["upload"]["state"] == "failed" and _etag(model) == etag else None

            model = await until("the broken file to be refused", refused, seconds=_REFUSED_SECONDS)
            self._new_stages(model)
            reason, hint = model["upload"]["reason"], model["upload"]["hint"]
            check(bool(reason) and bool(hint), "a refusal has a reason and says what to do")
            self._show.say(f"  {reason}", "yellow")
            self._show.say(f"  {hint}", "dim")
            tags = await asyncio.to_thread(_tags, self._storage, "digits.keras")
            check(
                tags.get("slipway_state") == "failed", f"the blob's own index tags say that it failed (they say {tags})"
            )
            self._show.done("told at the blob", None, f"index tag slipway_state={tags['slipway_state']}")
            check(model["version"] == 2, "v2 goes on serving")
            answer = await self._client.classify(MODEL, png(self._unseen[1]))
            _must_be(answer, 2)
            _none_failed(stream.tally)
            self._show.done(
                "v2 serves on", answer.seconds, f"“{answer.best}” {answer.classes[0][1]:.4f}, still no request failed"
            )
            chapter.outcome = f"refused at {model['upload']['stage']}; v2 serves on"

    async def _idle(self, tally: Tally) -> None:
        _none_failed(tally)
        with self._show.chapter("No more requests: the idle timer takes the compute away") as chapter:
            self._show.done("stream ended", None, f"{len(tally.outcomes)} requests in all, 0 failed")
            check(await self._kubernetes.gpu_nodes() > 0, "there is a GPU node while the model is awake")
            began = time.perf_counter()
            self._show.doing("no pod, please")

            async def no_pods() -> bool | None:
                return True if not await self._kubernetes.pods() else None

            await until("the idle timer to take the pods away", no_pods, seconds=_ASLEEP_SECONDS)
            self._show.done("pods: 0", time.perf_counter() - began, "the model is asleep, its files stay")
            self._show.doing("no GPU node, please")

            async def no_pool() -> Document | None:
                cluster = await self._client.cluster()
                return cluster if cluster["pool"]["count"] == 0 and cluster["state"] == "pool" else None

            await until("the GPU pool to go to 0", no_pool, seconds=_ASLEEP_SECONDS)

            async def no_nodes() -> bool | None:
                return True if await self._kubernetes.gpu_nodes() == 0 else None

            await until("the GPU nodes to leave Kubernetes", no_nodes, seconds=_ASLEEP_SECONDS)
            took = time.perf_counter() - began
            self._show.done("GPU pool: 0 nodes", took, "so says Azure Resource Manager, and so does Kubernetes")
            chapter.outcome = f"0 GPU nodes after {took:.1f} s of silence"

    async def _wake(self) -> None:
        with self._show.chapter("A request comes after all") as chapter:
            began = time.perf_counter()
            digit = self._unseen[2]
            told = await self._client.classify(MODEL, png(digit))
            error = told.body.get("error", {})
            check(
                told.status == 503 and error.get("code") == "waking",
                f"a sleeping model answers 503 waking, not {told.status}: {told.body}",
            )
            check(bool(told.retry_after) and error["eta_seconds"] > 0, "the caller is told when to come back")
            self._show.done("503 waking", told.seconds, f"Retry-After: {told.retry_after}, stage {error['stage']}")
            self._show.say(f"  {error['message']}", "yellow")
            self._show.doing("the same again, with Prefer: wait")
            answer = await self._client.classify(MODEL, png(digit), wait_seconds=_WAKE_SECONDS)
            took = time.perf_counter() - began
            _must_be(answer, 2)
            self._show.done(
                "answered",
                answer.seconds,
                f"“{answer.best}” {answer.classes[0][1]:.4f} by v2, held by Prefer: wait={_WAKE_SECONDS}",
            )
            check(await self._kubernetes.gpu_nodes() > 0, "the GPU node is back")
            chapter.outcome = f"“{answer.best}” {took:.1f} s after the first request"

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
            self._new_stages(model)
            upload, rollout = model["upload"], model["rollout"]
            if upload["state"] == "failed":
                raise DemoError(f"The model was refused at {upload['stage']}: {upload['reason']} {upload['hint']}")
            self._show.doing(f"{rollout['step']}: {rollout['message']}" if rollout else upload["state"])
            return model if upload["version"] is not None and upload["version"] == model["version"] else None

        model = await until("the model to be served", served, seconds=_SERVING_SECONDS)
        self._new_stages(model)
        return model

    def _new_stages(self, model: Document) -> None:
        for stage in model["timeline"]:
            key = (stage["stage"], stage["started"])
            if key not in self._shown:
                self._shown.add(key)
                show = self._show.done if stage["outcome"] == "done" else self._show.refused
                detail = stage["detail"] if stage["outcome"] == "done" else f"refused at {stage['stage']}"
                show(_WORDS.get(stage["stage"], stage["stage"]), stage["seconds"], detail or "")

    async def _some_answers(self, stream: SteadyStream, version: int) -> None:
        async def answered() -> bool | None:
            return True if stream.tally.by(version) >= _PER_SECOND else None

        await until(f"answers by v{version}", answered, seconds=_SERVING_SECONDS)

    async def _share_right(self, version: int) -> float:
        """The share of some unseen digits that the served version names rightly."""
        right = 0
        for digit in self._unseen[:_COMPARED]:
            answer = await self._client.classify(MODEL, png(digit))
            _must_be(answer, version)
            right += answer.best == digit.name
        return right / _COMPARED


def _must_be(answer: Answer, version: int) -> None:
    check(answer.status == 200, f"the request is answered (status {answer.status}: {answer.body})")
    check(answer.version == version, f"v{version} answers (it was v{answer.version})")


def _none_failed(tally: Tally) -> None:
    failed = tally.failed
    check(
        not failed,
        f"no request fails ({len(failed)} of {len(tally.outcomes)} did; the first: {failed[0].failure if failed else ''})",
    )


def _etag(model: Document) -> str:
    return str(model["upload"]["etag"]).strip('"')


def _put(storage: str, name: str, data: bytes) -> str:
    with BlobServiceClient.from_connection_string(storage, retry_total=1) as service:
        answer = service.get_blob_client("models", name).upload_blob(data, overwrite=True)
    return str(answer["etag"]).strip('"')


def _tags(storage: str, name: str) -> dict[str, str]:
    with BlobServiceClient.from_connection_string(storage, retry_total=1) as service:
        return dict(service.get_blob_client("models", name).get_blob_tags())
