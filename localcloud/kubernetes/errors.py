"""Failures as an API server words them: each is a ``Status`` object.

    ApiError                 every failure that is answered with a Status
    └── ExpiredError         the resourceVersion asked for is no longer in the history (410)

The functions below build the Status of each kind of failure; texts follow the server's own.
"""

from dataclasses import dataclass
from typing import Any

from localcloud.kubernetes.objects import Object


class ApiError(Exception):
    """A failure with its HTTP code, machine-readable reason and details."""

    def __init__(
        self, code: int, reason: str | None, message: str, details: Object | None = None, *, continue_token: str = ""
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.continue_token = continue_token

    def status(self) -> Object:
        """Returns the Status object that is sent."""
        metadata = {"continue": self.continue_token} if self.continue_token else {}
        body: Object = {"kind": "Status", "apiVersion": "v1", "metadata": metadata, "status": "Failure"}
        body["message"] = self.message
        if self.reason is not None:
            body["reason"] = self.reason
        if self.details is not None:
            body["details"] = self.details
        return body | {"code": self.code}


class ExpiredError(ApiError):
    """The resourceVersion asked for has left the history: list again."""

    def __init__(self, message: str, *, continue_token: str = "") -> None:
        super().__init__(410, "Expired", message, continue_token=continue_token)


@dataclass(frozen=True)
class Subject:
    """What a failure is about: the plural resource, its group and kind, and the object's name."""

    group: str
    plural: str
    kind: str
    name: str = ""

    @property
    def qualified(self) -> str:
        """The resource with its group, as messages name it: ``deployments.apps``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def details(self, kind: str, **more: Any) -> Object:
        """Returns Status details that name this subject."""
        named = {"name": self.name} if self.name else {}
        grouped = {"group": self.group} if self.group else {}
        return named | grouped | ({"kind": kind} if kind else {}) | more


@dataclass(frozen=True)
class Cause:
    """One fault of a field."""

    reason: str
    field: str
    message: str

    def to_json(self) -> Object:
        """Returns the StatusCause."""
        return {"reason": self.reason, "message": self.message, "field": self.field}


def required(field: str, why: str = "") -> Cause:
    """The field has to be given."""
    return Cause("FieldValueRequired", field, f"Required value: {why}" if why else "Required value")


def wrong(field: str, value: str, why: str) -> Cause:
    """The field's value (already rendered) is not allowed."""
    return Cause("FieldValueInvalid", field, f"Invalid value: {value}: {why}")


def forbidden_field(field: str, why: str) -> Cause:
    """The field may not be given, or not be changed."""
    return Cause("FieldValueForbidden", field, f"Forbidden: {why}")


def duplicate(field: str, value: str) -> Cause:
    """The value (already rendered) stands twice."""
    return Cause("FieldValueDuplicate", field, f"Duplicate value: {value}")


def unsupported(field: str, value: str, *allowed: str) -> Cause:
    """The value (already rendered) is none of those allowed."""
    listed = ", ".join(f'"{choice}"' for choice in allowed)
    return Cause("FieldValueNotSupported", field, f"Unsupported value: {value}: supported values: {listed}")


def not_found_field(field: str, value: str) -> Cause:
    """The value (already rendered) names something that is not there."""
    return Cause("FieldValueNotFound", field, f"Not found: {value}")


def not_found(subject: Subject) -> ApiError:
    """404: no such object."""
    message = f'{subject.qualified} "{subject.name}" not found'
    return ApiError(404, "NotFound", message, subject.details(subject.plural))


def unknown_resource() -> ApiError:
    """404: no such resource, version or subresource."""
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def method_not_allowed() -> ApiError:
    """405."""
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message, {})


def already_exists(subject: Subject, *, terminating: bool = False) -> ApiError:
    """409: the name is taken."""
    prefix = "object is being deleted: " if terminating else ""
    message = f'{prefix}{subject.qualified} "{subject.name}" already exists'
    return ApiError(409, "AlreadyExists", message, subject.details(subject.plural))


def conflict(subject: Subject, why: str = "") -> ApiError:
    """409: a precondition, by default the resourceVersion, does not hold."""
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {subject.qualified} "{subject.name}": {why}'
    return ApiError(409, "Conflict", message, subject.details(subject.plural))


def invalid(subject: Subject, causes: list[Cause]) -> ApiError:
    """422: fields are at fault. The subject's kind, not its plural, is named."""
    texts = [f"{cause.field}: {cause.message}" for cause in causes]
    listed = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    kind = f"{subject.kind}.{subject.group}" if subject.group else subject.kind
    details = subject.details(subject.kind, causes=[cause.to_json() for cause in causes])
    return ApiError(422, "Invalid", f'{kind} "{subject.name}" is invalid: {listed}', details)


def invalid_options(kind: str, cause: Cause) -> ApiError:
    """422: a query parameter is at fault; ``kind`` is ListOptions, PatchOptions and so on."""
    return invalid(Subject("meta.k8s.io", "", kind), [cause])


def bad_request(message: str) -> ApiError:
    """400."""
    return ApiError(400, "BadRequest", message)


def forbidden(subject: Subject, why: str, causes: list[Cause] | None = None) -> ApiError:
    """403 about a resource."""
    named = f'{subject.qualified} "{subject.name}"' if subject.name else subject.qualified
    more = {"causes": [cause.to_json() for cause in causes]} if causes else {}
    return ApiError(403, "Forbidden", f"{named} is forbidden: {why}", subject.details(subject.plural, **more))


def unauthorized() -> ApiError:
    """401: the token is none of ours."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def internal(message: str) -> ApiError:
    """500 without a reason, as the server answers what it could not type."""
    return ApiError(500, None, message)
