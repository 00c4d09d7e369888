"""What the Python worker makes of a trigger's data: with the converters of ``azure-functions`` itself.

They, and the extension for SDK types, are what runs on Azure; only the values they are given come from here. HTTP
requests are made directly, without a converter: it would copy every header several times for the same result.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from azure.functions import meta
from azure.storage.blob import BlobProperties
from azurefunctions.extensions import base as sdk_types

from localcloud.functions_host.triggers import BlobTrigger, Function, HttpTrigger, QueueTrigger, TimerTrigger, Trigger

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelBindingData:
    """What the host sends for an SDK-type parameter; the field names are those of the worker's protocol."""

    version: str
    source: str
    content_type: str
    content: str


@dataclass(frozen=True)
class QueueContent:
    """A queue message as the trigger sees it, its text decoded."""

    id: str
    body: str
    dequeue_count: int
    pop_receipt: str
    inserted: datetime | None
    expires: datetime | None
    next_visible: datetime | None


def accepts(trigger: Trigger, annotation: object) -> bool:
    """Whether the worker can make a value of this annotation from the trigger."""
    if isinstance(trigger, BlobTrigger) and is_sdk_type(annotation):
        return bool(_sdk_converter().check_input_type_annotation(annotation))
    if not isinstance(annotation, type):
        return False
    if annotation in (str, bytes) and isinstance(trigger, BlobTrigger | QueueTrigger):
        return True
    return bool(_converter(trigger).check_input_type_annotation(annotation))


def is_sdk_type(annotation: object) -> bool:
    """Whether a parameter is bound by reference (``BlobClient`` and its kind): the host then does not read the blob."""
    return annotation is not None and bool(sdk_types.get_binding_registry().check_supported_type(annotation))


def blob_reference(function: Function, connection: str, container: str, blob: str) -> object:
    """The SDK client that the function asked for, made by the extension from the reference that the host sends."""
    content = {"Connection": connection, "ContainerName": container, "BlobName": blob}
    data = ModelBindingData("1.0", "AzureStorageBlobs", "application/json", json.dumps(content))
    datum = sdk_types.Datum(data, "model_binding_data")
    return _sdk_converter().decode(datum, trigger_metadata={}, pytype=function.parameter_type)


def blob_content(
    function: Function, trigger: BlobTrigger, data: bytes, properties: BlobProperties, *, url: str
) -> object:
    """The whole blob: an ``InputStream``, or ``bytes`` or ``str`` where the function says so."""
    if function.parameter_type is bytes:
        return data
    if function.parameter_type is str:
        return data.decode()
    described = {
        "ContentLength": properties.size,
        "ContentType": properties.content_settings.content_type,
        "ETag": properties.etag,
        "LastModified": properties.last_modified.isoformat(),
    }
    return _converter(trigger).decode(
        meta.Datum(data, "bytes"),
        trigger_metadata={
            "BlobTrigger": meta.Datum(f"{properties.container}/{properties.name}", "string"),
            "Uri": meta.Datum(url, "string"),
            "Properties": meta.Datum(json.dumps(described), "json"),
            "Metadata": meta.Datum(json.dumps(properties.metadata or {}), "json"),
        },
    )


def queue_message(function: Function, trigger: QueueTrigger, content: QueueContent) -> object:
    """A ``QueueMessage``, or its body where the function asks for ``bytes`` or ``str``."""
    if function.parameter_type is str:
        return content.body
    if function.parameter_type is bytes:
        return content.body.encode()
    return _converter(trigger).decode(
        meta.Datum(content.body, "string"),
        trigger_metadata={
            "Id": meta.Datum(content.id, "string"),
            "DequeueCount": meta.Datum(content.dequeue_count, "int"),
            "PopReceipt": meta.Datum(content.pop_receipt, "string"),
            "InsertionTime": _moment(content.inserted),
            "ExpirationTime": _moment(content.expires),
            "NextVisibleTime": _moment(content.next_visible),
        },
    )


def timer_request(trigger: TimerTrigger, past_due: bool, status: Mapping[str, str]) -> object:
    """A ``TimerRequest``; ``status`` has the keys of the status blob."""
    info = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status or None, "IsPastDue": past_due}
    return _converter(trigger).decode(meta.Datum(json.dumps(info), "json"), trigger_metadata={})


def _moment(moment: datetime | None) -> meta.Datum:
    return meta.Datum("" if moment is None else moment.isoformat(), "string")


# The two registries' classes are typed as metaclasses; what they hand out has check_… and decode only.
def _converter(trigger: Trigger) -> Any:
    match trigger:
        case HttpTrigger():
            kind = "httpTrigger"
        case BlobTrigger():
            kind = "blobTrigger"
        case QueueTrigger():
            kind = "queueTrigger"
        case TimerTrigger():
            kind = "timerTrigger"
    registry = meta.get_binding_registry()  # type: ignore[no-untyped-call]  # it has no annotations
    return registry.get(kind)


def _sdk_converter() -> Any:
    # The registry is filled by importing the extension, which the app has done if it names one of its types.
    return sdk_types.get_binding_registry().get("blobTrigger")
