"""The models that are served: their version folders watched, loaded, retried, unloaded, found for requests.

All state belongs to the event loop; folders are listed, and models loaded and closed, in threads. What to serve is
decided in ``versions``; this module performs it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from localcloud.tf_serving import versions
from localcloud.tf_serving.config import ModelConfig
from localcloud.tf_serving.errors import Code, ServingError, StartError, invalid
from localcloud.tf_serving.inference import Servable
from localcloud.tf_serving.metrics import Metrics
from localcloud.tf_serving.paths import Mounts
from localcloud.tf_serving.rest_path import Target

_log = logging.getLogger(__name__)

Loader = Callable[[Path], Servable]


class State(Enum):
    """TensorFlow Serving's states of a model version."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True)
class RepositoryOptions:
    """How models are loaded; intervals in seconds, negative as the flags say."""

    load_threads: int = 1
    load_retries: int = 5
    load_retry_interval: float = 60.0
    poll_interval: int = 1
    labels_for_unavailable: bool = False


@dataclass(eq=False)
class Version:
    """One version of a model: where it is, what became of it, and how many requests hold it."""

    number: int
    path: str
    state: State = State.START
    error: ServingError | None = None
    servable: Servable | None = None
    wanted: bool = True
    users: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(eq=False)
class _Model:
    config: ModelConfig
    versions: dict[int, Version] = field(default_factory=dict)
    polled: bool = False

    def available(self) -> list[Version]:
        return [version for version in self.versions.values() if version.state is State.AVAILABLE]


class Repository:
    """The served models. Use as an asynchronous context: leaving it ends what runs."""

    def __init__(self, loader: Loader, mounts: Mounts, options: RepositoryOptions, metrics: Metrics) -> None:
        self._loader = loader
        self._mounts = mounts
        self._options = options
        self._metrics = metrics
        self._models: dict[str, _Model] = {}
        self._removed: list[_Model] = []
        self._labels: dict[tuple[str, str], int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._threads = ThreadPoolExecutor(max(options.load_threads, 1), thread_name_prefix="load")

    async def __aenter__(self) -> "Repository":
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def configure(self, configs: Iterable[ModelConfig]) -> None:
        """Serves these models from the next poll on, and no others; then assigns their labels.

        Raises:
            ServingError: FAILED_PRECONDITION: a label is for a version that does not serve. The models are changed, the
                labels stay as they were.
        """
        wanted = {config.name: config for config in configs}
        for name in set(self._models) - set(wanted):
            gone = self._models.pop(name)
            self._removed.append(gone)
            for version in gone.versions.values():
                version.wanted = False
        for name, config in wanted.items():
            _log.info(" (Re-)adding model: %s", name)
            model = self._models.setdefault(name, _Model(config))
            model.config = config
        labels = {(name, label): number for name, config in wanted.items() for label, number in config.labels.items()}
        for (name, label), number in labels.items():
            self._check_label(name, label, number)
        self._labels = labels

    async def watch(self) -> None:
        """Polls until cancelled; once where the interval is 0, never where it is negative."""
        if self._options.poll_interval < 0:
            return
        await self.poll()
        while self._options.poll_interval:
            await asyncio.sleep(self._options.poll_interval)
            await self.poll()

    async def poll(self) -> None:
        """Looks at the folders once and starts what follows from it; does not wait for loads."""
        loop = asyncio.get_running_loop()
        for model in list(self._models.values()):
            folder = self._mounts.host(model.config.base_path)
            try:
                children = await loop.run_in_executor(None, _children, folder)
            except OSError as error:
                _log.error(
                    "FileSystemStoragePathSource encountered a filesystem access error: Could not find base path %s "
                    "for servable %s with error %s", model.config.base_path, model.config.name, error.strerror,
                )  # fmt: skip
                continue
            self._reconcile(model, versions.aspired(model.config.policy, versions.numbered(children)))
        for model in self._removed:
            self._unload_unwanted(model)
        self._removed = [
            model for model in self._removed if any(v.state is not State.END for v in model.versions.values())
        ]

    async def wait_started(self) -> None:
        """Returns when every model has a version that serves.

        Raises:
            StartError: all versions of a model have failed for good, on which the real server ends.
        """
        while not all(model.available() for model in self._models.values()):
            if failure := self._start_failure():
                raise failure
            self._changed.clear()
            await self._changed.wait()

    def _start_failure(self) -> StartError | None:
        failed = [
            (model.config.name, version.number, version.error)
            for model in self._models.values()
            for version in model.versions.values()
            if all(other.state is State.END and other.error for other in model.versions.values())
        ]
        if not failed:
            return None
        listed = ", ".join(
            f"{{{{name: {name} version: {number}}} due to error: {error}}}" for name, number, error in failed
        )
        return StartError(Code.UNKNOWN, f"{len(failed)} servable(s) did not become available: {{{listed}, }}")

    @contextlib.contextmanager
    def lease(self, target: Target) -> Iterator[tuple[int, Servable]]:
        """The version that a request means, kept loaded meanwhile.

        Raises:
            ServingError: NOT_FOUND, or INVALID_ARGUMENT for an unknown label.
        """
        version = self._find(target)
        assert version.servable is not None, "an available version is loaded"  # noqa: S101
        version.users += 1
        try:
            yield version.number, version.servable
        finally:
            version.users -= 1
            version.released.set()

    def status(self, target: Target) -> list[Version]:
        """The versions that a status request means, the newest first.

        Raises:
            ServingError: NOT_FOUND, or INVALID_ARGUMENT for an unknown label.
        """
        model = self._models.get(target.model) or next(
            (gone for gone in self._removed if gone.config.name == target.model), None
        )
        number = self._number(target)
        found = model.versions if model else {}
        if number is not None:
            if number not in found:
                raise ServingError(Code.NOT_FOUND, f"Could not find version {number} of model {target.model}")
            return [found[number]]
        if not found:
            raise ServingError(Code.NOT_FOUND, f"Could not find any versions of model {target.model}")
        return [found[number] for number in sorted(found, reverse=True)]

    def _find(self, target: Target) -> Version:
        number = self._number(target)
        model = self._models.get(target.model)
        candidates = [v for v in (model.available() if model else []) if number is None or v.number == number]
        if not candidates:
            asked = f"Latest({target.model})" if number is None else f"Specific({target.model}, {number})"
            raise ServingError(Code.NOT_FOUND, f"Servable not found for request: {asked}")
        return max(candidates, key=lambda version: version.number)

    def _number(self, target: Target) -> int | None:
        if target.label is None:
            return target.version
        number = self._labels.get((target.model, target.label))
        if number is None:
            raise invalid(f"Unrecognized servable version label: {target.label}")
        return number

    def _check_label(self, name: str, label: str, number: int) -> None:
        version = self._models[name].versions.get(number)
        if version is not None and version.state is State.AVAILABLE:
            return
        if self._options.labels_for_unavailable and self._labels.get((name, label), number) == number:
            return
        raise ServingError(
            Code.FAILED_PRECONDITION,
            f"Request to assign label to version {number} of model {name}, "
            "which is not currently available for inference",
        )

    def _reconcile(self, model: _Model, wanted: dict[int, str]) -> None:
        if not wanted and (not model.polled or any(version.wanted for version in model.versions.values())):
            _log.warning(
                "No versions of servable %s found under base path %s. Did you forget to name your leaf directory as a "
                "number (eg. '/1/')?", model.config.name, model.config.base_path,
            )  # fmt: skip
        model.polled = True
        for number, version in model.versions.items():
            if number not in wanted:
                version.wanted = False
        for number, child in wanted.items():
            known = model.versions.get(number)
            if known is None or (known.state is State.END and not known.wanted):
                version = Version(number, f"{model.config.base_path.rstrip('/')}/{child}")
                model.versions[number] = version
                self._start(self._load(model, version))
        self._unload_unwanted(model)

    def _unload_unwanted(self, model: _Model) -> None:
        wanted = [version.number for version in model.versions.values() if version.wanted]
        if not versions.may_unload(wanted, (version.number for version in model.available())):
            return
        for version in model.available():
            if not version.wanted:
                self._start(self._unload(model, version))

    async def _load(self, model: _Model, version: Version) -> None:
        identity = f"{{name: {model.config.name} version: {version.number}}}"
        loop = asyncio.get_running_loop()
        folder = self._mounts.host(version.path)
        for attempt in range(max(self._options.load_retries, 0) + 1):
            if attempt:
                await asyncio.sleep(max(self._options.load_retry_interval, 0))
                _log.info("Retrying of loading servable: %s retry: %d", identity, attempt)
            if not version.wanted:
                version.error = version.error or ServingError(Code.CANCELLED, "Load cancelled: no longer wanted")
                break
            version.state = State.LOADING
            try:
                version.servable = await loop.run_in_executor(self._threads, self._loader, folder)
            except ServingError as error:
                version.error = ServingError(error.code, self._mounts.container(error.message))
                self._metrics.load_ended(version.path, ok=False)
                _log.error("Loading servable: %s failed: %s", identity, version.error)
                continue
            version.error, version.state = None, State.AVAILABLE
            self._metrics.load_ended(version.path, ok=True)
            _log.info("Successfully loaded servable version %s", identity)
            self._unload_unwanted(model)
            return
        version.state = State.END
        _log.error("Servable %s cannot be loaded: %s", identity, version.error)

    async def _unload(self, model: _Model, version: Version) -> None:
        version.state = State.UNLOADING
        while version.users:
            version.released.clear()
            await version.released.wait()
        servable, version.servable = version.servable, None
        if servable is not None:
            await asyncio.get_running_loop().run_in_executor(self._threads, servable.close)
        version.state = State.END
        _log.info("Successfully unloaded servable version {name: %s version: %d}", model.config.name, version.number)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._changed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("A load or unload ended unexpectedly", exc_info=error)


def _children(folder: Path) -> list[str]:
    return [child.name for child in folder.iterdir()]
