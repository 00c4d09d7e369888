"""Which Slipway a command talks to: the one named by options or the environment, else the local cloud that runs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deployer.cli.errors import Unreachable, Usage

DEFAULT_DATA = Path(".slipway")


@dataclass(frozen=True)
class Options:
    """The options that stand before the command."""

    data: Path = DEFAULT_DATA
    url: str | None = None
    key: str | None = None
    storage: str | None = None


@dataclass(frozen=True)
class Target:
    """One running Slipway. ``url`` is the origin; paths start with ``/api``.

    ``storage`` is a connection string, or the account's blob URL for a sign-in by ``DefaultAzureCredential``.
    ``local`` is the file that told of a local cloud, for error messages; None where the user named the address.
    """

    url: str
    key: str | None
    storage: str | None
    local: Path | None = None

    def drop_storage(self) -> str:
        """The storage account that holds the drop container.

        Raises:
            Usage: none was given with the address.
        """
        if self.storage:
            return self.storage
        raise Usage(
            "no_storage", "It is not known which storage account models are dropped into.",
            "Give --storage (or SLIPWAY_STORAGE_CONNECTION): a connection string, or https://ACCOUNT.blob.core.windows.net.",
        )  # fmt: skip


def find_target(options: Options) -> Target:
    """The Slipway that these options mean.

    Raises:
        Unreachable: no address was given, and no local cloud runs in the data folder.
    """
    if options.url:
        return Target(url=_origin(options.url), key=options.key, storage=options.storage)
    path = options.data / "endpoints.json"
    try:
        endpoints: Mapping[str, str] = json.loads(path.read_text(encoding="utf-8"))
        url, key, storage = (endpoints[name] for name in ("functions_url", "function_key", "storage_connection_string"))
    except FileNotFoundError as error:
        raise Unreachable(
            "no_local_cloud", f"No local cloud runs in '{options.data}', and no address was given.",
            "Start one with 'slipway up', name its folder with --data, or give --url and --key of a function app.",
        ) from error  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unreachable(
            "bad_endpoints", f"'{path}' does not tell where the local cloud is: {error!r}.",
            "Stop the local cloud, remove the file, and start it again with 'slipway up'.",
        ) from error  # fmt: skip
    return Target(url=url.rstrip("/"), key=options.key or key, storage=options.storage or storage, local=path)


def _origin(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise Usage("bad_url", f"'{url}' is no address.", "Give it as https://APP.azurewebsites.net.")
    return url.rstrip("/").removesuffix("/api")
