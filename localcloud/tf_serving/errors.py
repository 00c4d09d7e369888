"""The one error of this server: a TensorFlow status, with the HTTP status TensorFlow Serving gives it.

ServingError
└── StartError   the server cannot start; ends the process
"""

from enum import Enum


class Code(Enum):
    """TensorFlow's status codes (``error_codes.proto``): number, and the HTTP status that the REST API answers."""

    OK = (0, 200)
    CANCELLED = (1, 499)
    UNKNOWN = (2, 500)
    INVALID_ARGUMENT = (3, 400)
    DEADLINE_EXCEEDED = (4, 504)
    NOT_FOUND = (5, 404)
    ALREADY_EXISTS = (6, 409)
    PERMISSION_DENIED = (7, 403)
    RESOURCE_EXHAUSTED = (8, 429)
    FAILED_PRECONDITION = (9, 400)
    ABORTED = (10, 409)
    OUT_OF_RANGE = (11, 400)
    UNIMPLEMENTED = (12, 501)
    INTERNAL = (13, 500)
    UNAVAILABLE = (14, 503)
    DATA_LOSS = (15, 500)
    UNAUTHENTICATED = (16, 401)

    @property
    def number(self) -> int:
        """The code's number in ``error_codes.proto``."""
        return self.value[0]

    @property
    def http_status(self) -> int:
        """The HTTP status that TensorFlow Serving answers for this code."""
        return self.value[1]

    @classmethod
    def of_number(cls, number: int) -> "Code":
        """The code with this number; UNKNOWN for a number that TensorFlow does not define."""
        return next((code for code in cls if code.number == number), cls.UNKNOWN)


class ServingError(Exception):
    """What went wrong, as TensorFlow Serving would say it."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        """``CODE: message``, as TensorFlow prints a status inside another message."""
        return f"{self.code.name}: {self.message}"


class StartError(ServingError):
    """The server cannot start."""


def invalid(message: str) -> ServingError:
    """An INVALID_ARGUMENT: what the client sent cannot be used."""
    return ServingError(Code.INVALID_ARGUMENT, message)
