"""A kubeconfig is read as kubectl reads it; what cannot be used is refused with what, where, and what to do instead."""

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployer.adapters import kubeconfig
from deployer.errors import SlipwayError

CA, CERTIFICATE, KEY = b"-- ca --", b"-- certificate --", b"-- key --"


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def config(cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None, **changes: Any) -> str:
    """One of two contexts, "here" and "there"; ``cluster`` and ``user`` are those of "here", the current one."""
    return yaml.safe_dump(
        {
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "contexts": [
                {"name": "there", "context": {"cluster": "far", "user": "robot"}},
                {"name": "here", "context": {"cluster": "near", "user": "me"}},
            ],
            "clusters": [
                {"name": "far", "cluster": {"server": "https://far:6443"}},
                {"name": "near", "cluster": {"server": "https://near:6443", **(cluster or {})}},
            ],
            "users": [
                {"name": "robot", "user": {"token": "robot's"}},
                {"name": "me", "user": {"token": "mine"} if user is None else user},
            ],
        }
        | changes
    )  # fmt: skip


def entra(application: str) -> str:
    return f"entra's for {application}"


def refused(text: str, context: str = "") -> SlipwayError:
    with pytest.raises(SlipwayError) as raised:
        kubeconfig.access(text, context, entra)
    assert raised.value.code == "bad_kubeconfig" and raised.value.hint
    return raised.value


def test_the_current_context_is_taken_unless_another_is_named() -> None:
    here, there = (kubeconfig.access(config(), context, entra) for context in ("", "there"))
    assert (here.server, there.server) == ("https://near:6443", "https://far:6443")
    assert here.token is not None and here.token() == "mine"
    assert there.token is not None and there.token() == "robot's"
    assert here.verify and here.server_name is None and here.authority is None


def test_certificates_inside_are_decoded() -> None:
    user = {"client-certificate-data": encoded(CERTIFICATE), "client-key-data": encoded(KEY)}
    found = kubeconfig.access(config({"certificate-authority-data": encoded(CA)}, user), "", entra)
    assert (found.authority, found.certificate, found.key, found.token) == (CA, CERTIFICATE, KEY, None)


def test_files_are_found_beside_the_kubeconfig(tmp_path: Path) -> None:
    """Relative paths start at the kubeconfig's folder, as with kubectl."""
    (tmp_path / "ca.crt").write_bytes(CA)
    (tmp_path / "token").write_text("first\n")
    path = tmp_path / "config"
    path.write_text(config({"certificate-authority": "ca.crt"}, {"tokenFile": "token"}))
    found = kubeconfig.access(str(path), "", entra)
    assert found.authority == CA
    assert found.token is not None and found.token() == "first"
    (tmp_path / "token").write_text("renewed\n")
    assert found.token() == "renewed"


def test_it_may_be_json_on_one_line() -> None:
    """As an app setting is easiest to write."""
    text = str(yaml.safe_load(config())).replace("'", '"').replace('robot"s', "robot")
    assert "\n" not in text
    assert kubeconfig.access(text, "there", entra).server == "https://far:6443"


def test_certificate_checks_are_as_it_says() -> None:
    found = kubeconfig.access(config({"insecure-skip-tls-verify": True, "tls-server-name": "api"}), "", entra)
    assert (found.verify, found.server_name) == (False, "api")


@pytest.mark.parametrize(
    ("arguments", "application"),
    [
        (["get-token", "--login", "msi", "--server-id", "my-app"], "my-app"),
        (["get-token", "--server-id=my-app"], "my-app"),
        (["get-token"], "6dae42f8-4368-4678-94ff-3960e28e3630"),
    ],
)
def test_in_the_place_of_kubelogin_the_app_itself_asks_entra(arguments: list[str], application: str) -> None:
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "kubelogin", "args": arguments}}
    found = kubeconfig.access(config(user=user), "", entra)
    assert found.token is not None and found.token() == f"entra's for {application}"


def test_no_credentials_are_none() -> None:
    found = kubeconfig.access(config(user={}), "", entra)
    assert (found.token, found.certificate, found.key) == (None, None, None)


@pytest.mark.parametrize(
    ("user", "said"),
    [
        ({"exec": {"command": "/usr/bin/aws", "args": ["eks"]}}, "program '/usr/bin/aws'"),
        ({"auth-provider": {"name": "gcp"}}, "auth-provider 'gcp'"),
        ({"username": "admin", "password": "secret"}, "a name and a password"),
        ({"client-certificate-data": encoded(CERTIFICATE)}, "half of a client certificate"),
        ({"client-certificate-data": "%%%", "client-key-data": encoded(KEY)}, "client-certificate-data"),
        ({"tokenFile": "/nowhere/token"}, "/nowhere/token"),
    ],
)
def test_a_user_that_cannot_be_used_is_named(user: dict[str, Any], said: str) -> None:
    error = refused(config(user=user))
    assert said in error.message and "SLIPWAY_CLUSTER__KUBECONFIG" in error.message
    assert "secret" not in error.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (config().replace("current-context: here", "current-context: gone"), "no context 'gone'"),
        (config().replace("current-context: here", ""), "no current-context"),
        (config(clusters=[]), "no cluster 'near'"),
        (config(users=None), "no user 'me'"),
        (config({"server": ""}), "has no server"),
        (config({"proxy-url": "http://proxy"}), "goes through a proxy"),
        (config({"server": "http://10.0.0.4:8080"}), "plain http"),
        (config({"certificate-authority": "/nowhere/ca.crt"}), "/nowhere/ca.crt"),
        ("- a\n- b\n", "holds a list"),
        ("users:\n  token: 'secret", "is not YAML: line 2"),
        ("/nowhere/config", "/nowhere/config, which cannot be read"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, said: str) -> None:
    message = refused(text).message
    assert said in message
    assert "secret" not in message


def test_a_token_may_travel_over_plain_http_within_this_machine() -> None:
    assert kubeconfig.access(config({"server": "http://127.0.0.1:8001"}), "", entra).server == "http://127.0.0.1:8001"


def test_the_contexts_that_there_are_are_told() -> None:
    error = refused(config(), "elsewhere")
    assert "'here'" in error.hint and "'there'" in error.hint
