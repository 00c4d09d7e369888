"""App settings: ``%NAME%`` in bindings, connections by name, and functions switched off by a setting."""

import re
from collections.abc import Mapping

from localcloud.functions_host.errors import SettingError

_REFERENCE = re.compile(r"%([^%\s]+)%")


def resolve(text: str, settings: Mapping[str, str], where: str) -> str:
    """Replaces each ``%NAME%`` in ``text`` by the app setting of that name.

    Raises:
        SettingError: a setting is missing. Azure knows no defaults here: the function would not be indexed.
    """

    def value_of(reference: re.Match[str]) -> str:
        name = reference.group(1)
        if name not in settings:
            raise SettingError(
                f"{where} names the app setting %{name}%, which is not set. Set {name} in the environment "
                "(on Azure: in the Function App's settings)."
            )
        return settings[name]

    return _REFERENCE.sub(value_of, text)


def connection_string(name: str, settings: Mapping[str, str], where: str) -> str:
    """The storage connection string that a binding's ``connection`` names.

    Raises:
        SettingError: it is missing, or it is an identity-based connection, which the emulator cannot serve.
    """
    for candidate in (name, f"AzureWebJobs{name}"):
        if settings.get(candidate):
            return settings[candidate]
    if any(key.startswith(f"{name}__") for key in settings):
        raise SettingError(
            f"{where} uses the connection {name!r}, which is identity-based ({name}__…). Azurite has no identities: "
            f"locally, set {name} to a connection string."
        )
    raise SettingError(
        f"{where} uses the connection {name!r}, and no app setting of that name holds a connection string."
    )


def is_disabled(function: str, settings: Mapping[str, str]) -> bool:
    """Whether ``AzureWebJobs.NAME.Disabled`` is set (``AzureWebJobs_NAME_Disabled`` where a dot is not possible)."""
    names = (f"AzureWebJobs.{function}.Disabled", f"AzureWebJobs_{function}_Disabled")
    return any(settings.get(name, "").lower() in {"true", "1"} for name in names)
