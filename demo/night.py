"""The last two chapters: nobody asks, and the compute goes; somebody asks, and it comes back."""

import asyncio
import time

from demo.claims import answered_by, check, none_failed
from demo.client import Answer, Client, Kubernetes, until_so
from demo.digits import Digit, png
from demo.load import Tally
from demo.show import Show

_ASLEEP_SECONDS = 60.0
_WAKE_SECONDS = 60


class Night:
    """From the last request of the day to the answer to the first of the next."""

    def __init__(self, show: Show, client: Client, kubernetes: Kubernetes, model: str, digit: Digit) -> None:
        self._show = show
        self._client = client
        self._kubernetes = kubernetes
        self._model = model
        self._digit = digit

    async def falls(self, tally: Tally) -> None:
        """The requests have ended; waits until the idle timer has taken the GPU nodes away."""
        none_failed(tally)
        with self._show.chapter("leave it alone", "No more requests: the idle timer takes the compute away") as chapter:
            self._show.done("stream ended", None, f"{len(tally.outcomes)} requests in all, 0 failed")
            check(await self._has_gpu_nodes(), "there is a GPU node while the model is awake")
            began = time.perf_counter()
            for what, look, shown, detail in (
                ("the deployment to be scaled to 0", self._is_scaled_down, "replicas: 0", "the model sleeps, its files stay"),
                ("the pods to go", self._has_no_pods, "pods: 0", "so says Kubernetes"),
                ("the GPU pool to go to 0", self._has_no_pool, "GPU pool: 0 nodes", "so says Azure Resource Manager"),
                ("the GPU nodes to leave", self._has_no_gpu_nodes, "GPU nodes: 0", "so says Kubernetes"),
            ):  # fmt: skip
                self._show.doing(f"waiting for {what}")
                await until_so(what, look, seconds=_ASLEEP_SECONDS)
                self._show.done(shown, time.perf_counter() - began, detail)
            chapter.outcome = f"0 GPU nodes after {time.perf_counter() - began:.1f} s of silence"

    async def ends(self) -> None:
        """A request wakes the model and gets its answer."""
        with self._show.chapter("wake", "A request comes after all") as chapter:
            began = time.perf_counter()
            told = await self._ask()
            error = told.body.get("error", {})
            check(
                told.status == 503 and error.get("code") == "waking",
                f"a sleeping model answers 503 waking (status {told.status}: {told.body})",
            )
            check(bool(told.retry_after) and error["eta_seconds"] > 0, "the caller is told when to come back")
            self._show.done("503, waking", told.seconds, f"Retry-After: {told.retry_after} (stage: {error['stage']})")
            self._show.say(error["message"], "yellow")
            asked = asyncio.create_task(self._ask(wait_seconds=_WAKE_SECONDS))
            try:
                await self._show_wake(asked, began)
                answer = await asked
            finally:
                asked.cancel()
            took = time.perf_counter() - began
            answered_by(2, answer)
            held = f"“{answer.best}” {answer.classes[0][1]:.4f} by v2, held by Prefer: wait={_WAKE_SECONDS}"
            self._show.done("answered", took, held)
            check(await self._has_gpu_nodes(), "the GPU node is back")
            chapter.outcome = f"an answer {took:.1f} s after the first request"

    async def _show_wake(self, asked: asyncio.Task[Answer], began: float) -> None:
        """Shows what comes back, as it does, until the request is answered."""
        for what, look, shown in (
            ("the GPU pool to grow", self._has_pool, "GPU pool: 1 node"),
            ("the GPU node to join", self._has_gpu_nodes, "GPU node joined"),
            ("the pod to come", self._has_pods, "pod created"),
        ):
            self._show.doing(f"the same request again, held; waiting for {what}")
            seen = asyncio.create_task(until_so(what, look, seconds=_WAKE_SECONDS))
            await asyncio.wait([asked, seen], return_when=asyncio.FIRST_COMPLETED)
            if not seen.done():  # answered before it was seen
                seen.cancel()
                return
            await seen
            self._show.done(shown, time.perf_counter() - began)
        self._show.doing("the pod loads the model")

    async def _ask(self, wait_seconds: int = 0) -> Answer:
        return await self._client.classify(self._model, png(self._digit), wait_seconds=wait_seconds)

    async def _is_scaled_down(self) -> bool:
        return not any((await self._kubernetes.replicas()).values())

    async def _has_pods(self) -> bool:
        return bool(await self._kubernetes.pods())

    async def _has_no_pods(self) -> bool:
        return not await self._has_pods()

    async def _has_pool(self) -> bool:
        return bool((await self._client.cluster())["pool"]["count"])

    async def _has_no_pool(self) -> bool:
        return not await self._has_pool()

    async def _has_gpu_nodes(self) -> bool:
        return await self._kubernetes.gpu_nodes() > 0

    async def _has_no_gpu_nodes(self) -> bool:
        return not await self._has_gpu_nodes()
