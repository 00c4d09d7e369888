"""Runs functions as the Python worker does: ``async`` ones on the loop, the others in its thread pool."""

import asyncio
import contextvars
import functools
import logging
import threading
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from localcloud.functions_host.errors import InvocationError
from localcloud.functions_host.triggers import Function

_THREAD_COUNT = "PYTHON_THREADPOOL_THREAD_COUNT"
_MAX_THREADS = 32  # the worker's own limit for that setting

current_function: contextvars.ContextVar[str] = contextvars.ContextVar("current_function", default="host")
_thread_local_storage = threading.local()
_loggers: dict[str, logging.Logger] = {}


@dataclass(frozen=True)
class _TraceContext:
    trace_parent: str = ""
    trace_state: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _RetryContext:
    retry_count: int = 0
    max_retry_count: int = 0
    exception: None = None


@dataclass(frozen=True)
class _Context:
    """The ``context`` parameter; like the worker's own, it only looks like ``azure.functions.Context``."""

    function_name: str
    function_directory: str
    invocation_id: str
    thread_local_storage: threading.local = _thread_local_storage
    trace_context: _TraceContext = _TraceContext()
    retry_context: _RetryContext = _RetryContext()


class Worker:
    """``timeout`` is host.json's ``functionTimeout`` in seconds."""

    def __init__(self, timeout: float | None, settings: Mapping[str, str]) -> None:
        self.timeout = timeout
        self._threads = ThreadPoolExecutor(_thread_count(settings), thread_name_prefix="function")
        self._busy: set[int] = set()  # threads that run a function; adding and discarding are atomic

    @property
    def is_idle(self) -> bool:
        """Whether no thread still runs a function."""
        return not self._busy

    def close(self) -> None:
        """Takes no more work; a thread that runs a function goes on."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def invoke(self, function: Function, argument: object, about: str = "") -> None:
        """Runs a function that is not triggered by HTTP, for at most the function timeout.

        A function that runs in a thread cannot be ended: its invocation counts as failed, and the thread goes on
        (Azure ends the worker process instead).

        Raises:
            InvocationError: it raised, timed out, or returned something although it has no binding for that.
        """
        try:
            async with asyncio.timeout(self.timeout):
                result = await self.call(function, argument, about)
        except TimeoutError as error:
            log_for(function).error(
                "Timeout value of %s s exceeded by function 'Functions.%s'.", self.timeout, function.name
            )
            raise InvocationError(f"{function.name} ran longer than functionTimeout ({self.timeout} s).") from error
        if result is not None:
            message = f"function {function.name!r} without a $return binding returned a non-None value"
            log_for(function).error("%s", message)
            raise InvocationError(message)

    async def call(self, function: Function, argument: object, about: str = "") -> object:
        """Runs a function and gives its result; logs how it went.

        Raises:
            InvocationError: it raised.
        """
        invocation_id = str(uuid.uuid4())
        arguments: dict[str, Any] = {function.trigger.parameter: argument}
        if function.takes_context:
            arguments["context"] = _Context(function.name, function.directory, invocation_id)
        token = current_function.set(function.name)
        started = time.perf_counter()
        outcome = "Cancelled"
        try:
            if function.is_async:
                _thread_local_storage.invocation_id = invocation_id
                result: object = await function.call(**arguments)  # type: ignore[misc]  # is_async says it is awaitable
            else:
                result = await self._call_in_thread(function, arguments, invocation_id)
            outcome = "Succeeded"
        except Exception as error:
            outcome = "Failed"
            log_for(function).exception("Exception while executing function: Functions.%s", function.name)
            raise InvocationError(f"{function.name} raised {type(error).__name__}: {error}") from error
        else:
            return result
        finally:
            log = log_for(function)
            if log.isEnabledFor(logging.INFO):
                milliseconds = round((time.perf_counter() - started) * 1000)
                log.info(
                    "Executed 'Functions.%s' (%s, Id=%s, Duration=%dms)%s",
                    function.name, outcome, invocation_id, milliseconds, about,
                )  # fmt: skip
            current_function.reset(token)

    async def _call_in_thread(self, function: Function, arguments: dict[str, Any], invocation_id: str) -> object:
        def run() -> object:
            thread = threading.get_ident()
            self._busy.add(thread)
            _thread_local_storage.invocation_id = invocation_id
            try:
                return function.call(**arguments)
            finally:
                _thread_local_storage.invocation_id = None
                self._busy.discard(thread)

        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._threads, functools.partial(context.run, run))


def log_for(function: Function) -> logging.Logger:
    """The category that host.json's ``logging.logLevel`` knows as ``Function.NAME``."""
    if (found := _loggers.get(function.name)) is None:
        found = _loggers[function.name] = logging.getLogger(f"Function.{function.name}")
    return found


def _thread_count(settings: Mapping[str, str]) -> int | None:
    """``None`` leaves it to Python, as the worker does where the setting is absent or out of range."""
    value = settings.get(_THREAD_COUNT, "")
    if value.isdecimal() and 1 <= int(value) <= _MAX_THREADS:
        return int(value)
    if value:
        logging.getLogger(__name__).warning(
            "%s must be a whole number from 1 to %d; it is %r.", _THREAD_COUNT, _MAX_THREADS, value
        )
    return None
