"""The host's life: load → start triggers → listen → ready → SIGTERM → stop triggers → grace → gone."""

import asyncio
import json
import logging
import os
import signal
from collections.abc import Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from azure.storage.queue.aio import QueueClient

from localcloud import files
from localcloud.functions_host import blob_trigger, decoding, host_json, indexing, keys, log, storage
from localcloud.functions_host.blob_trigger import BlobMessage, BlobRunner, BlobScanner
from localcloud.functions_host.cors import Cors, cors
from localcloud.functions_host.errors import InvocationError
from localcloud.functions_host.host_json import HostJson
from localcloud.functions_host.http_server import HttpFrontEnd
from localcloud.functions_host.queue_listener import Handle, Pace, QueueListener
from localcloud.functions_host.storage import HOST_CONNECTION, Storage
from localcloud.functions_host.timer_trigger import Timer
from localcloud.functions_host.triggers import BlobTrigger, Function, HttpTrigger, QueueTrigger, TimerTrigger
from localcloud.functions_host.worker import Worker

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """``data`` keeps the keys and the host ID. Times in seconds."""

    app: Path
    data: Path
    ready_file: Path | None = None
    port: int = 0
    blob_poll_seconds: float = 0.5
    pace: Pace = field(default_factory=Pace)
    grace_seconds: float = 5.0
    http_limit_seconds: float = 230.0


@dataclass(frozen=True)
class _Host:
    """What every trigger needs."""

    functions: Sequence[Function]
    config: HostJson
    options: Options
    secrets: keys.HostSecrets
    stores: Storage
    worker: Worker
    cors: Cors | None


@dataclass
class _Running:
    """What has been started, for the way down."""

    stopping: asyncio.Event
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)
    listeners: list[QueueListener] = field(default_factory=list)
    out_of_turn: set[asyncio.Task[None]] = field(default_factory=set)

    def start(self, work: Coroutine[Any, Any, Any], name: str) -> None:
        self.tasks.append(asyncio.create_task(work, name=name))


async def run(options: Options, settings: Mapping[str, str]) -> bool:
    """Runs the app until SIGTERM or SIGINT. Gives whether every function has ended.

    Raises:
        HostError: the app cannot be run; the message says why.
    """
    config = host_json.load(options.app, settings)
    log.configure(config.log_levels)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    allowed = cors(settings)
    functions = indexing.load(options.app.resolve(), settings, config.functions)
    secrets = keys.load(options.app.resolve(), options.data)
    stores = Storage(settings)
    worker = Worker(config.function_timeout, settings)
    try:
        await _run(_Host(functions, config, options, secrets, stores, worker, allowed), stopping)
    finally:
        worker.close()
        await stores.close()
    return worker.is_idle


async def _run(host: _Host, stopping: asyncio.Event) -> None:
    options = host.options
    parent = os.getppid()
    await storage.ensure_container(host.stores.hosts)
    running = _Running(stopping)
    blob_queue = host.stores.queue(HOST_CONNECTION, blob_trigger.queue_name(host.secrets.host_id), "The host")
    blob_listener = _start_blobs(host, blob_queue, running)
    _start_queues(host, running)
    timers = _start_timers(host, running)

    async def enqueue(message: BlobMessage) -> None:
        await storage.send(blob_queue, message.encode())
        if blob_listener is not None:
            blob_listener.wake()

    def run_now(name: str) -> bool:
        if (timer := timers.get(name.lower())) is None:
            return False
        task = asyncio.create_task(_out_of_turn(timer))
        running.out_of_turn.add(task)
        task.add_done_callback(running.out_of_turn.discard)
        return True

    front_end = HttpFrontEnd(
        host.functions,
        host.config.http,
        host.secrets,
        host.worker,
        limit_seconds=options.http_limit_seconds,
        enqueue=enqueue,
        run_now=run_now,
        cors=host.cors,
    )
    runner, port = await front_end.serve(options.port, shutdown_seconds=options.grace_seconds)
    try:
        url = f"http://127.0.0.1:{port}"
        _announce(host, url)
        _write_ready(options.ready_file, url, host.secrets)
        await _until_stopped(running)
        logger.info("Stopping.")
    finally:
        stopping.set()
        if options.ready_file is not None:
            options.ready_file.unlink(missing_ok=True)
        if os.getppid() == parent:
            await asyncio.gather(runner.cleanup(), _stop(running, options.grace_seconds))
        else:  # its supervisor was killed: storage is going down, too, and there is nothing to wait for
            await _stop(running, 0.0)


def _start_blobs(host: _Host, queue: QueueClient, running: _Running) -> QueueListener | None:
    triggered = [(f, f.trigger) for f in host.functions if isinstance(f.trigger, BlobTrigger)]
    if not triggered:
        return None
    for function, trigger in triggered:
        host.stores.blobs(trigger.connection, function.id)  # a missing connection fails here, not at the first blob
    first, first_trigger = triggered[0]
    listener = QueueListener(
        queue,
        host.stores.queue(first_trigger.connection, blob_trigger.POISON_QUEUE, first.id),  # Azurite is one account
        BlobRunner(triggered, host.stores, host.worker).handle,
        host.config.blobs.queue_options(),
        pace=host.options.pace,
    )
    scanner = BlobScanner(host.secrets.host_id, triggered, host.stores, queue, on_enqueued=listener.wake)
    running.listeners.append(listener)
    running.start(listener.listen(), "blob queue")
    running.start(scanner.scan_every(host.options.blob_poll_seconds, running.stopping), "blob scan")
    return listener


def _start_queues(host: _Host, running: _Running) -> None:
    for function in host.functions:
        if not isinstance(trigger := function.trigger, QueueTrigger):
            continue
        listener = QueueListener(
            host.stores.queue(trigger.connection, trigger.queue, function.id),
            host.stores.queue(trigger.connection, f"{trigger.queue}-poison", function.id),
            _handle_message(function, trigger, host.worker),
            host.config.queues,
            pace=host.options.pace,
        )
        running.listeners.append(listener)
        running.start(listener.listen(), f"queue of {function.name}")


def _handle_message(function: Function, trigger: QueueTrigger, worker: Worker) -> Handle:
    async def handle(content: decoding.QueueContent) -> None:
        await worker.invoke(function, decoding.queue_message(function, trigger, content))

    return handle


def _start_timers(host: _Host, running: _Running) -> dict[str, Timer]:
    timers: dict[str, Timer] = {}
    for function in host.functions:
        if isinstance(trigger := function.trigger, TimerTrigger):
            timer = Timer(host.secrets.host_id, function, trigger, host.stores, host.worker)
            timers[function.name.lower()] = timer
            running.start(timer.keep(running.stopping), f"timer {function.name}")
    return timers


async def _out_of_turn(timer: Timer) -> None:
    try:
        await timer.run_now()
    except InvocationError:
        return  # it has been logged


def _announce(host: _Host, url: str) -> None:
    for function in host.functions:
        match function.trigger:
            case HttpTrigger(route=route, methods=methods):
                path = "/".join(part for part in (url, host.config.http.route_prefix, route) if part)
                logger.info("%s: [%s] %s", function.name, ",".join(sorted(methods or {"*"})), path)
            case BlobTrigger(container=container):
                logger.info("%s: blobs in %s", function.name, container)
            case QueueTrigger(queue=queue):
                logger.info("%s: messages in %s", function.name, queue)
            case TimerTrigger(schedule=schedule):
                logger.info("%s: at %s", function.name, schedule)


def _write_ready(path: Path | None, url: str, secrets: keys.HostSecrets) -> None:
    if path is None:
        logger.info("Function key: %s", secrets.default)
        return
    content = {
        "url": url,
        "function_key": secrets.default,
        "master_key": secrets.master,
        "blobs_extension_key": secrets.blobs_extension,
        "host_id": secrets.host_id,
        "pid": os.getpid(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_private(path, json.dumps(content))


async def _until_stopped(running: _Running) -> None:
    """Returns when the host is to stop; raises what a trigger's loop ended with, which it never should."""
    waiting = asyncio.create_task(running.stopping.wait())
    done, _ = await asyncio.wait([waiting, *running.tasks], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    for task in done:
        task.result()


async def _stop(running: _Running, grace_seconds: float) -> None:
    """Nothing new begins (``running.stopping`` is set); what is under way gets its grace."""
    drains = [listener.drain(grace_seconds) for listener in running.listeners]
    under_way = [*running.tasks, *running.out_of_turn]
    await asyncio.gather(_wait(under_way, grace_seconds), *drains)
    for task in under_way:
        task.cancel()
    await asyncio.gather(*under_way, return_exceptions=True)


async def _wait(tasks: Collection[asyncio.Task[Any]], seconds: float) -> None:
    if tasks:
        await asyncio.wait(tasks, timeout=seconds)
