"""What a kubeconfig says of TLS, held against a server that has a certificate of a private authority and wants one of ours."""

import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from deployer.adapters import kubeconfig
from deployer.adapters.workloads import KubernetesWorkloads
from deployer.errors import ClusterUnreachable, SlipwayError


@dataclass(frozen=True)
class Identity:
    """A key and a certificate, and the files they are in."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    key_file: Path
    certificate_file: Path


def identity(folder: Path, name: str, by: Identity | None = None, *names: x509.GeneralName) -> Identity:
    """Made by an authority, or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder(subject_name=subject, issuer_name=by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    signer = by.key if by else key
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    builder = builder.add_extension(identifier, critical=False).add_extension(authority, critical=False)
    if by is None:
        others = (
            "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
            "encipher_only", "decipher_only",
        )  # fmt: skip
        usage = dict.fromkeys(others, False)
        builder = builder.add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True)
    certificate = builder.sign(signer, hashes.SHA256())
    made = Identity(key, certificate, folder / f"{name}.key", folder / f"{name}.crt")
    made.certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    made.key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )  # fmt: skip
    return made


class Api(BaseHTTPRequestHandler):
    """A Kubernetes API with one GPU node, for those whose token is right or who have shown a certificate."""

    def do_GET(self) -> None:
        known = bool(self.connection.getpeercert()) or self.headers["Authorization"] == "Bearer right"
        node = {
            "metadata": {"name": "n"},
            "status": {
                "allocatable": {"nvidia.com/gpu": "2"}, "conditions": [{"type": "Ready", "status": "True"}],
            },
        }  # fmt: skip
        items: list[Any] = [node] if self.path.startswith("/api/v1/nodes") else []
        body = json.dumps({"kind": "List", "apiVersion": "v1", "items": items} if known else {"message": "no"}).encode()
        self.send_response(200 if known else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


@dataclass(frozen=True)
class Tls:
    """The server's address, and the authority's and the client's files."""

    server: str
    authority: Identity
    client: Identity


@pytest.fixture(params=["127.0.0.1", "kubernetes.example"])
def named(request: pytest.FixtureRequest) -> str:
    """What the server's certificate is made out to."""
    name: str = request.param
    return name


@pytest.fixture
def tls(tmp_path: Path, named: str) -> Iterator[Tls]:
    authority = identity(tmp_path, "authority")
    address: x509.GeneralName = x509.IPAddress(ip_address(named)) if named[0].isdigit() else x509.DNSName(named)
    own = identity(tmp_path, "server", authority, address)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.certificate_file))
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_cert_chain(own.certificate_file, own.key_file)
    with HTTPServer(("127.0.0.1", 0), Api) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield Tls(f"https://127.0.0.1:{server.server_port}", authority, identity(tmp_path, "client", authority))
        server.shutdown()
        thread.join(30)


def gpus(tls: Tls, cluster: dict[str, Any], user: dict[str, Any]) -> int:
    """Reads the nodes as this user, by a kubeconfig as text."""
    text = yaml.safe_dump(
        {
            "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": tls.server, **cluster}}],
            "users": [{"name": "u", "user": user}],
        }
    )  # fmt: skip
    workloads = KubernetesWorkloads(lambda: kubeconfig.access(text, "", lambda _: ""), gpu_nodes={})
    return workloads.nodes().gpus


def trusting(tls: Tls, named: str) -> dict[str, Any]:
    names = {} if named == "127.0.0.1" else {"tls-server-name": named}
    return {"certificate-authority": str(tls.authority.certificate_file), **names}


def test_by_token_and_by_certificate(tls: Tls, named: str) -> None:
    certificate = {"client-certificate": str(tls.client.certificate_file), "client-key": str(tls.client.key_file)}
    assert gpus(tls, trusting(tls, named), {"token": "right"}) == 2
    assert gpus(tls, trusting(tls, named), certificate) == 2


def test_a_wrong_token_is_refused(tls: Tls, named: str) -> None:
    with pytest.raises(SlipwayError, match="list Nodes") as refused:
        gpus(tls, trusting(tls, named), {"token": "wrong"})
    assert refused.value.code == "kubernetes_401"


def test_a_server_that_nobody_vouches_for_is_not_told_the_token(tls: Tls) -> None:
    with pytest.raises(ClusterUnreachable, match="certificate verify failed"):
        gpus(tls, {}, {"token": "right"})


def test_a_certificate_made_out_to_another_name_does_not_pass(tls: Tls, named: str) -> None:
    cluster = trusting(tls, named) | {"tls-server-name": "somebody.else"}
    with pytest.raises(ClusterUnreachable, match=r"somebody\.else"):
        gpus(tls, cluster, {"token": "right"})


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_without_a_check_anybody_passes(tls: Tls) -> None:
    assert gpus(tls, {"insecure-skip-tls-verify": True}, {"token": "right"}) == 2
