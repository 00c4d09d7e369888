"""How requests to Azure Resource Manager are sent: bounded in time, repeated with measure, no token in the clear."""

from dataclasses import dataclass
from typing import Any

from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import BearerTokenCredentialPolicy, RetryPolicy
from azure.core.rest import HttpResponse


@dataclass(frozen=True)
class Patience:
    """The bounds of one call, in seconds. A function calls a handful of times and must be done within minutes.

    ``total``: for all attempts and the pauses between. ``retry_after``: the longest pause that Azure may ask for and get;
    where it asks for more, the call ends as throttled, and a later step asks again.
    """

    connect: float = 5.0
    read: float = 20.0
    total: float = 60.0
    retries: int = 2
    pause: float = 0.8
    retry_after: float = 10.0

    @property
    def options(self) -> dict[str, Any]:
        """As the SDK's client takes them."""
        return {
            "connection_timeout": self.connect,
            "read_timeout": self.read,
            "retry_policy": _BoundedRetry(
                self.retry_after, retry_total=self.retries, retry_backoff_factor=self.pause,
                retry_backoff_max=self.retry_after, timeout=self.total,
            ),
        }  # fmt: skip


class _BoundedRetry(RetryPolicy[Any, Any]):
    """The SDK's retries, with two differences.

    The SDK sleeps as long as ``Retry-After`` says, be it an hour; here a longer pause than the bound ends the call. And it
    repeats whatever has that header, refusals included; here only what may pass by itself.
    """

    _PASSING = frozenset({408, 429, 500, 502, 503, 504})

    def __init__(self, longest: float, **options: Any) -> None:
        super().__init__(**options)
        self._longest = longest

    def is_retry(self, settings: dict[str, Any], response: PipelineResponse[Any, Any]) -> bool:
        """Whether to ask again."""
        if response.http_response.status_code not in self._PASSING:
            return False
        if (self.get_retry_after(response) or 0) > self._longest:
            return False
        again = bool(super().is_retry(settings, response))
        if again and isinstance(response.http_response, HttpResponse):
            response.http_response.read()  # what is not read keeps its connection for ever
        return again


class LoopbackBearer(BearerTokenCredentialPolicy[Any, Any]):
    """Sends the token over plain http: for an address that never leaves this machine, and for no other."""

    def on_request(self, request: PipelineRequest[Any]) -> None:
        """Signs the request."""
        request.context["enforce_https"] = False
        super().on_request(request)
