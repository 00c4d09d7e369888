"""A packed body is counted as what it unpacks to, without keeping it; however it was packed."""

import gzip
import os
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.errors import BadRequest
from deployer.request.parse import check_unpacked, is_packed
from deployer.settings import ProxySettings

SETTINGS = ProxySettings(max_body_mb=1)
MIB = 1 << 20


@pytest.mark.parametrize(
    "body",
    [
        gzip.compress(bytes(MIB + 1)),
        gzip.compress(os.urandom(MIB + 1)),
        gzip.compress(bytes(MIB)) + gzip.compress(b"x"),
        gzip.compress(bytes(100 * MIB))[:-8],
        gzip.compress(b"") * 101,
    ],
    ids=["zeros", "noise", "two files", "cut off", "many files"],
)
def test_what_unpacks_to_more_than_a_body_may_have_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest) as refused:
        check_unpacked(body, SETTINGS)
    assert (refused.value.code, refused.value.status) == ("too_large", 413)


@pytest.mark.parametrize(
    "body",
    [b"", gzip.compress(bytes(MIB)), gzip.compress(os.urandom(MIB)), gzip.compress(b"") * 100, b"not packed", zlib.compress(b"x"),
     gzip.compress(b"{}")[:5], gzip.compress(b"{}") + b"rubbish"],
)  # fmt: skip
def test_what_fits_or_is_broken_passes(body: bytes) -> None:
    check_unpacked(body, SETTINGS)


@given(st.lists(st.binary(max_size=200), max_size=5), st.integers(0, 400), st.integers(0, 255))
def test_no_damage_makes_it_fail_otherwise(files: list[bytes], at: int, byte: int) -> None:
    body = bytearray(b"".join(map(gzip.compress, files)))
    if at < len(body):
        body[at] = byte
    check_unpacked(bytes(body), SETTINGS)


def test_only_gzip_is_unpacked_by_the_model_server() -> None:
    assert all(is_packed({"content-encoding": each}) for each in (" GZip ", "x-gzip", "gzip, identity", "gzip;q=1"))
    assert not is_packed({"content-encoding": "br"})
    assert not is_packed({})
