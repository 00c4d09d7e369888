"""The HTTP server: requests to models, configuration re-read, an orderly end.

The event loop only moves bytes: parsing, running and rendering a request happen in one worker thread, loads in others.
"""

import asyncio
import contextlib
import ipaddress
import logging
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from aiohttp import web

from localcloud.tf_serving import config, inference, render, rest_path
from localcloud.tf_serving.config import ModelConfig
from localcloud.tf_serving.errors import Code, ServingError, StartError
from localcloud.tf_serving.flags import Options
from localcloud.tf_serving.inference import Servable
from localcloud.tf_serving.metrics import Metrics
from localcloud.tf_serving.paths import Mounts
from localcloud.tf_serving.repository import Repository, RepositoryOptions, State, Version

_log = logging.getLogger(__name__)

_DRAIN_SECONDS = 8.0  # less than the 10 s after which the local cloud kills a process
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type",
}


def bind_address(environment: Mapping[str, str]) -> str:
    """Where to listen.

    Raises:
        StartError: LOCALCLOUD_BIND_ADDRESS is no loopback address; this server has no authentication.
    """
    address = environment.get("LOCALCLOUD_BIND_ADDRESS", "127.0.0.1")
    try:
        loopback = ipaddress.ip_address(address).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise StartError(
            Code.INVALID_ARGUMENT,
            f"LOCALCLOUD_BIND_ADDRESS is {address}, which is no loopback address. This stand-in serves this machine "
            "only: use 127.0.0.1 or another address of 127.0.0.0/8.",
        )
    return address


async def serve(options: Options, *, address: str, mounts: Mounts) -> None:
    """Serves until SIGTERM or SIGINT.

    Raises:
        StartError: a configuration file cannot be used, the port cannot be opened, or the models cannot be loaded.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    metrics = Metrics()
    configs, prometheus_path = _read_configuration(options, mounts)
    repository = Repository(_loader(options), mounts, _repository_options(options), metrics)
    threads = ThreadPoolExecutor(max(options.rest_api_num_threads, 1), thread_name_prefix="rest")
    try:
        async with repository:
            _configure_first(repository, configs)
            service = _Service(repository, metrics, threads, prometheus_path, cors=options.rest_api_enable_cors_support)
            async with _listening(service, address, options.rest_api_port):
                await _until_stopped(stop, repository, options, mounts)
                _log.info("Stopping: no further requests are taken, the running ones may end")
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


class _Service:
    """Answers requests."""

    def __init__(
        self,
        repository: Repository,
        metrics: Metrics,
        threads: ThreadPoolExecutor,
        prometheus_path: str | None,
        *,
        cors: bool,
    ) -> None:
        self._repository = repository
        self._metrics = metrics
        self._threads = threads
        self._prometheus_path = prometheus_path
        self._cors = cors
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def handle(self, request: web.Request) -> web.Response:
        """Answers one request."""
        self._running += 1
        self._idle.clear()
        try:
            return await self._respond(request)
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

    async def drain(self, seconds: float) -> None:
        """Waits until no request is being answered, at most this long."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), seconds)

    async def _respond(self, request: web.Request) -> web.Response:
        path = request.raw_path.partition("?")[0]
        if path == self._prometheus_path:
            return web.Response(text=self._metrics.page(), content_type="text/plain")
        headers = _CORS if self._cors else None
        if self._cors and request.method == "OPTIONS":
            return web.Response(headers=headers)
        try:
            status, body = 200, await self._answer(rest_path.parse(request.method, path), request)
        except ServingError as error:
            status, body = error.code.http_status, render.error(error)
        return web.Response(status=status, body=body, content_type="application/json", headers=headers)

    async def _answer(self, call: rest_path.Call, request: web.Request) -> bytes:
        match call.action:
            case "status":
                return render.document(_status(self._repository.status(call.target)))
            case "metadata":
                with self._repository.lease(call.target) as (version, servable):
                    return render.document(_metadata(call.target.model, version, servable))
            case "predict":
                return await self._infer(inference.predict, call, await request.read())
            case "classify":
                return await self._infer(inference.classify, call, await request.read())
            case "regress":
                return await self._infer(inference.regress, call, await request.read())

    async def _infer(
        self, method: Callable[[Servable | ServingError, bytes], bytes], call: rest_path.Call, body: bytes
    ) -> bytes:
        started, status = time.perf_counter(), Code.OK
        with contextlib.ExitStack() as leases:
            found: Servable | ServingError
            try:
                _, found = leases.enter_context(self._repository.lease(call.target))
            except ServingError as error:
                found = error
            try:
                return await asyncio.get_running_loop().run_in_executor(self._threads, method, found, body)
            except ServingError as error:
                status = error.code
                raise
            finally:
                seconds = time.perf_counter() - started
                self._metrics.request_ended(call.target.model, call.action, status.name, seconds)


def _status(versions: list[Version]) -> dict[str, object]:
    return {
        "model_version_status": [
            {
                "version": str(version.number),
                "state": version.state.name,
                "status": {"error_code": version.error.code.name, "error_message": version.error.message}
                if version.error and version.state is State.END
                else {"error_code": "OK", "error_message": ""},
            }
            for version in versions
        ]
    }


def _metadata(model: str, version: int, servable: Servable) -> dict[str, object]:
    return {
        "model_spec": {"name": model, "signature_name": "", "version": str(version)},
        "metadata": {"signature_def": {"signature_def": servable.signature_def}},
    }


@contextlib.asynccontextmanager
async def _listening(service: _Service, address: str, port: int) -> AsyncIterator[None]:
    app = web.Application(client_max_size=0)  # as the real server: no limit
    app.router.add_route("*", "/{path:.*}", service.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, address, port) if port else None
    try:
        if site:
            try:
                await site.start()
            except OSError as error:
                raise StartError(
                    Code.UNAVAILABLE, f"Failed to start HTTP Server at {address}:{port}: {error.strerror}"
                ) from error
            _log.info("Exporting HTTP/REST API at:%s:%d ...", address, port)
        else:
            _log.warning(
                "--rest_api_port is not set: the REST API is not exported, and gRPC is not part of this server"
            )
        yield
        if site:
            await site.stop()
            await service.drain(_DRAIN_SECONDS)  # before the runner's own clean-up, which stops reading bodies
    finally:
        await runner.cleanup()


async def _until_stopped(stop: asyncio.Event, repository: Repository, options: Options, mounts: Mounts) -> None:
    async def background() -> None:
        await asyncio.gather(
            repository.watch(), repository.wait_started(), _reread_configuration(repository, options, mounts)
        )

    async def stopped() -> None:
        await stop.wait()

    working, stopping = asyncio.create_task(background()), asyncio.create_task(stopped())
    try:
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()  # raises what ended it
        await stopping
    finally:
        working.cancel()
        stopping.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)


def _read_configuration(options: Options, mounts: Mounts) -> tuple[tuple[ModelConfig, ...], str | None]:
    prometheus_path: str | None = None
    try:
        if options.monitoring_config_file:
            text = _read(mounts, options.monitoring_config_file)
            prometheus_path = config.parse_prometheus_path(text, source=options.monitoring_config_file)
        if options.batching_parameters_file:
            text = _read(mounts, options.batching_parameters_file)
            config.check_batching(text, source=options.batching_parameters_file)
        if options.model_config_file:
            text = _read(mounts, options.model_config_file)
            return config.parse_models(text, source=options.model_config_file), prometheus_path
    except ServingError as error:
        raise StartError(error.code, error.message) from error
    return (ModelConfig(options.model_name, options.model_base_path),), prometheus_path


def _read(mounts: Mounts, path: str) -> str:
    try:
        return mounts.host(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ServingError(Code.NOT_FOUND, f"{path}: {getattr(error, 'strerror', None) or error}") from error


def _configure_first(repository: Repository, configs: tuple[ModelConfig, ...]) -> None:
    try:
        repository.configure(configs)
    except ServingError as error:
        raise StartError(error.code, error.message) from error


async def _reread_configuration(repository: Repository, options: Options, mounts: Mounts) -> None:
    """Applies the configuration file again when its text changes; what cannot be applied is tried at every interval."""
    interval, path = options.model_config_file_poll_wait_seconds, options.model_config_file
    if interval <= 0 or not path:
        return
    applied = await asyncio.to_thread(_read, mounts, path)
    while True:
        await asyncio.sleep(interval)
        try:
            text = await asyncio.to_thread(_read, mounts, path)
            if text == applied:
                continue
            configs = config.parse_models(text, source=path)
            await _reconfigure(repository, configs)
            applied = text
        except ServingError as error:
            _log.error("Reloading %s failed, what served goes on serving: %s", path, error)


async def _reconfigure(repository: Repository, configs: tuple[ModelConfig, ...]) -> None:
    try:
        repository.configure(configs)
    finally:
        await repository.poll()


def _repository_options(options: Options) -> RepositoryOptions:
    return RepositoryOptions(
        load_threads=options.num_load_threads,
        load_retries=options.max_num_load_retries,
        load_retry_interval=options.load_retry_interval_micros / 1e6,
        poll_interval=options.file_system_poll_wait_seconds,
        labels_for_unavailable=options.allow_version_labels_for_unavailable_models,
    )


def _loader(options: Options) -> Callable[[Path], Servable]:
    def load(folder: Path) -> Servable:
        try:  # imports TensorFlow: in the thread that loads, so that the server answers meanwhile
            from localcloud.tf_serving.engine import EngineOptions, SessionServable  # noqa: PLC0415
        except ImportError as error:
            raise ServingError(Code.INTERNAL, f"TensorFlow cannot be imported: {error}") from error
        parallelism = options.tensorflow_session_parallelism
        return SessionServable(
            folder,
            EngineOptions(
                tags=tuple(options.saved_model_tags.split(",")),
                timeout_ms=max(options.rest_api_timeout_in_ms, 0),
                intra_op_threads=options.tensorflow_intra_op_parallelism or parallelism,
                inter_op_threads=options.tensorflow_inter_op_parallelism or parallelism,
                gpu_memory_fraction=options.per_process_gpu_memory_fraction,
                warmup_iterations=options.num_request_iterations_for_warmup if options.enable_model_warmup else 0,
            ),
        )

    return load
