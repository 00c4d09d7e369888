"""What can keep the host from starting, or an invocation from succeeding.

HostError
├── AppError         function_app.py cannot be loaded, or declares what cannot run
├── HostJsonError    host.json is missing, malformed, or has a value out of range
├── SettingError     an app setting that something names is missing
└── InvocationError  an invocation raised, timed out, or returned what its bindings cannot carry
"""


class HostError(Exception):
    """Its message says what is wrong, where, and what to do."""


class AppError(HostError):
    """``function_app.py`` cannot be loaded, or declares what this host cannot run."""


class HostJsonError(HostError):
    """``host.json`` is missing, malformed, or has a value out of range."""


class SettingError(HostError):
    """An app setting that a binding or a connection names is missing."""


class InvocationError(HostError):
    """An invocation did not succeed; it has been logged, with its traceback."""
