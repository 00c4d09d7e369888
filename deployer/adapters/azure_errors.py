"""What the Azure SDK raises, and what its operations end with, as errors of ours that name what was attempted.

The SDK's exceptions are many, and some say only that an answer was lost; ``azure_refusals`` tells the cause and the cure of
what Azure itself said.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import cast

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    DecodeError,
    HttpResponseError,
    ServiceRequestTimeoutError,
    ServiceResponseError,
    ServiceResponseTimeoutError,
)
from azure.core.rest import HttpResponse
from azure.mgmt.core.polling.arm_polling import ARMPolling

from deployer.adapters.azure_refusals import Refusal, explained, from_document
from deployer.errors import AzureRefused


@contextmanager
def named(what: str) -> Iterator[None]:
    """Turns what the SDK raises into an error that names what was attempted, the cause and the cure."""
    try:
        yield
    except ClientAuthenticationError as error:
        if error.response is not None and error.response.status_code != 401:
            raise explained(what, _answered(error)) from error
        said = error.message if error.response is None else _answered(error).message
        raise AzureRefused(
            "azure_sign_in", f"Azure did not {what}: Slipway's identity could not sign in ({_first_line(said)})",
            "The app needs a managed identity, switched on and of the cluster's tenant; AZURE_CLIENT_ID names a user-assigned "
            "one.",
        ) from error  # fmt: skip
    except HttpResponseError as error:
        raise explained(what, _answered(error)) from error
    except (ServiceRequestTimeoutError, ServiceResponseTimeoutError) as error:
        raise AzureRefused(
            "azure_timeout", f"Azure did not {what}: it did not answer in time ({_first_line(str(error))})",
            "It is tried again; what it had accepted is seen then.",
        ) from error  # fmt: skip
    except ServiceResponseError as error:
        raise AzureRefused(
            "azure_cut", f"Azure did not {what}: the connection was cut before its answer ({_first_line(str(error))})",
            "It is tried again; what it had accepted is seen then.",
        ) from error  # fmt: skip
    except AzureError as error:
        raise AzureRefused(
            "azure_unreachable", f"Azure did not {what}: it cannot be reached ({_first_line(str(error))})",
            "It is tried again. Check SLIPWAY_CLUSTER__ARM_URL, and that the app's network lets it out.",
        ) from error  # fmt: skip


def _answered(error: HttpResponseError) -> Refusal:
    """Azure's answer: its JSON where it is one, else what the SDK made of it."""
    response, status = cast(HttpResponse | None, error.response), error.status_code
    if response is None:
        unread = HTTPStatus.OK if isinstance(error, DecodeError) else None
        return Refusal(type(error).__name__, _first_line(str(error.message)), status or unread)
    waiting = str(response.headers.get("Retry-After") or "")
    retry_after = float(waiting) if waiting.isdigit() else None
    try:
        document = json.loads(response.text())
    except (ValueError, AzureError):
        return Refusal(f"HTTP {status}", _first_line(str(error.message)), status, retry_after)
    inner = document.get("error", document) if isinstance(document, dict) else None
    return from_document(inner, status, retry_after)


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[0]


def failure_of(what: str, method: ARMPolling) -> str:
    """Why an operation that was accepted has failed, in one line."""
    try:
        body = json.loads(method._pipeline_response.http_response.text())
    except ValueError:
        body = None
    error = body.get("error") if isinstance(body, dict) else None
    return explained(what, from_document(error or {"code": method.status()})).in_line
