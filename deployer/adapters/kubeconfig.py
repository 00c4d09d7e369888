"""A kubeconfig, by path or as text, as a ``ClusterAccess``: cluster, user and context as kubectl reads them.

What would run a program on this machine is refused by name, but for kubelogin, in whose place the app's own identity asks
Entra for the token.
"""

import base64
import binascii
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from deployer.errors import SlipwayError
from deployer.ports import ClusterAccess

SETTING = "SLIPWAY_CLUSTER__KUBECONFIG"

# The Entra application of every AKS cluster's API server, which kubelogin is told of by --server-id.
_AKS_SERVER = "6dae42f8-4368-4678-94ff-3960e28e3630"


@dataclass(frozen=True)
class _Source:
    """Where the text came from: errors name it, and relative paths start at its folder."""

    name: str
    folder: Path


def access(given: str, context: str, entra_token: Callable[[str], str], *, name: str = SETTING) -> ClusterAccess:
    """How to reach the cluster that ``given``, a path or the YAML itself, names in ``context`` (empty: its current one).

    ``entra_token`` gives a token for an Entra application, where the user is kubelogin's; ``name`` is what errors call the text.

    Raises:
        SlipwayError: ``bad_kubeconfig``; what is wrong, in which entry, and what would do instead.
    """
    text, source = _read(given, name)
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise _bad(
            f"{source.name} is not YAML: {_place(error)}", "Set the path of a kubeconfig, or its text."
        ) from error
    if not isinstance(config, dict):
        raise _bad(f"{source.name} holds a {type(config).__name__}, not a kubeconfig.", "Set its path, or its text.")
    chosen = context or config.get("current-context") or ""
    if not chosen:
        raise _bad(f"{source.name} has no current-context.", "Name one in SLIPWAY_CLUSTER__CONTEXT.")
    entry = _named(config, "contexts", "context", chosen, source)
    cluster = _named(config, "clusters", "cluster", str(entry.get("cluster")), source)
    user = _named(config, "users", "user", str(entry["user"]), source) if entry.get("user") else {}
    if not cluster.get("server"):
        raise _bad(f"cluster '{entry['cluster']}' of {source.name} has no server.", "Add its address, https://….")
    if cluster.get("proxy-url"):
        raise _bad(
            f"cluster '{entry['cluster']}' of {source.name} goes through a proxy (proxy-url), which is not supported.",
            "Let the app reach the API server directly, as by integration into its virtual network.",
        )
    certificate = _bytes(user, "client-certificate", source)
    key = _bytes(user, "client-key", source)
    if (certificate is None) != (key is None):
        raise _bad(f"user '{entry['user']}' of {source.name} has half of a client certificate.", "Add the other half.")
    token = _token(user, f"user '{entry.get('user')}' of {source.name}", source, entra_token)
    server = str(cluster["server"])
    if token is not None and not _private(server):
        raise _bad(
            f"cluster '{entry['cluster']}' of {source.name} is at {server}: a token must not travel over plain http.",
            "Use an https address.",
        )
    return ClusterAccess(
        server, _bytes(cluster, "certificate-authority", source), certificate, key, token,
        verify=not cluster.get("insecure-skip-tls-verify", False), server_name=cluster.get("tls-server-name"),
    )  # fmt: skip


def _read(given: str, name: str) -> tuple[str, _Source]:
    if "\n" in given.strip() or given.lstrip().startswith("{"):
        return given, _Source(name, Path.cwd())
    path = Path(given).expanduser()
    try:
        return path.read_text(encoding="utf-8"), _Source(str(path), path.parent)
    except (OSError, UnicodeDecodeError) as error:
        raise _bad(
            f"{SETTING} names {given[:200]}, which cannot be read: {error.strerror if isinstance(error, OSError) else error}",
            "Set the path of a kubeconfig that is deployed with the app, or its text (a Key Vault reference may stand for it).",
        ) from error


def _place(error: yaml.YAMLError) -> str:
    """Where and what; not the parser's whole message, which quotes the text and with it secrets."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return "it cannot be read"


def _named(config: Mapping[str, Any], group: str, kind: str, name: str, source: _Source) -> Mapping[str, Any]:
    entries = {item.get("name"): item for item in config.get(group) or [] if isinstance(item, dict)}
    found = entries.get(name)
    if found is None or not isinstance(found.get(kind), dict):
        known = ", ".join(f"'{each}'" for each in entries) or "none"
        raise _bad(
            f"{source.name} has no {kind} '{name}'.", f"It has: {known}. SLIPWAY_CLUSTER__CONTEXT chooses the context."
        )
    entry: Mapping[str, Any] = found[kind]
    return entry


def _bytes(entry: Mapping[str, Any], field: str, source: _Source) -> bytes | None:
    """The content of ``FIELD-data`` (base64) or of the file that ``FIELD`` names."""
    if data := entry.get(f"{field}-data"):
        try:
            return base64.b64decode(data, validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise _bad(f"{field}-data in {source.name} is not base64.", "Take the kubeconfig anew.") from error
    if path := entry.get(field):
        return _file(source, path, field)
    return None


def _file(source: _Source, path: str, field: str) -> bytes:
    full = source.folder / path
    try:
        return full.read_bytes()
    except OSError as error:
        raise _bad(
            f"{field} in {source.name} names {full}, which cannot be read: {error.strerror}",
            "Put the content into the kubeconfig: kubectl config view --flatten --minify.",
        ) from error


def _token(
    user: Mapping[str, Any], who: str, source: _Source, entra_token: Callable[[str], str]
) -> Callable[[], str] | None:
    match user:
        case {"token": str(token)} if token:
            return lambda: token
        case {"tokenFile": str(path)}:
            _file(source, path, "tokenFile")  # is there now; read anew for each request, for it is renewed
            return lambda: _file(source, path, "tokenFile").decode().strip()
        case {"exec": {"command": str(command)} as plugin}:
            if Path(command).name.removesuffix(".exe") == "kubelogin":
                application = _argument(plugin.get("args") or [], "--server-id") or _AKS_SERVER
                return lambda: entra_token(application)
            raise _bad(
                f"{who} gets its credentials from the program '{command}', which is not run here.",
                "Use a token or a client certificate, such as those of a service account: kubectl create token.",
            )
        case {"auth-provider": {"name": name}}:
            raise _bad(f"{who} uses the auth-provider '{name}', which Kubernetes itself gave up.", "Use a token.")
        case {"username": _}:
            raise _bad(f"{who} has a name and a password, which Kubernetes itself gave up.", "Use a token.")
        case _:
            return None


def _private(server: str) -> bool:
    """Whether what is sent there can be read by nobody else: it is encrypted, or does not leave this machine."""
    url = urlsplit(server)
    if url.scheme == "https":
        return True
    try:
        return ipaddress.ip_address(url.hostname or "").is_loopback
    except ValueError:
        return False


def _argument(arguments: list[str], name: str) -> str | None:
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if argument == name:
            return following or None
        if argument.startswith(f"{name}="):
            return argument.partition("=")[2]
    return None


def _bad(message: str, hint: str) -> SlipwayError:
    return SlipwayError("bad_kubeconfig", message, hint)
