"""Images are told and measured by their headers, before anything is decoded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.errors import BadRequest
from deployer.request.images import check, kind_of
from tests.unit.request.pictures import bmp, gif, jpeg, old_bmp, png

MANY = 1 << 20


@pytest.mark.parametrize(
    ("image", "kind"), [(png(), "PNG"), (jpeg(), "JPEG"), (gif(), "GIF"), (bmp(), "BMP"), (b"hello", None), (b"", None)]
)
def test_an_image_is_told_by_its_first_bytes(image: bytes, kind: str | None) -> None:
    assert kind_of(image) == kind


@pytest.mark.parametrize(
    "image",
    [
        png(1000, 1000),
        jpeg(1000, 1000),
        jpeg(1000, 1000, before=b"\xff\xff\xe1\x00\x10" + bytes(14) + b"\xff\xc4\x00\x04\x00\x00"),
        gif(1000, 1000),
        gif(10, 10, canvas=(1000, 1000)),
        gif(500, 500, frames=4),
        bmp(1000, 1000),
        bmp(1000, -1000),
        old_bmp(1000, 1000),
    ],
    ids=[
        "png",
        "jpeg",
        "jpeg with segments",
        "gif",
        "gif canvas",
        "gif frames",
        "bmp",
        "bmp upside down",
        "bmp of OS/2",
    ],
)
def test_pixels_are_counted_by_the_header(image: bytes) -> None:
    check([("the body", image)], max_pixels=1_000_000)
    with pytest.raises(BadRequest, match="1000000 pixels") as refused:
        check([("the body", image)], max_pixels=999_999)
    assert (refused.value.code, refused.value.status) == ("too_many_pixels", 413)
    assert "MAX_MEGAPIXELS" in refused.value.hint


def test_the_pixels_of_all_images_of_a_request_count_together() -> None:
    images = [(f"images[{index}]", png(1000, 1000)) for index in range(3)]
    check(images[:2], max_pixels=2_500_000)
    with pytest.raises(BadRequest, match=r"With images\[2\], the images have 3000000 pixels"):
        check(images, max_pixels=2_500_000)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"RIFF....WEBP", "WebP"), (b"II*\0", "TIFF"), (b"%PDF-1.7", "PDF"), (b"....ftypavif", "AVIF"),
        (b"....ftypheic", "HEIC"), (b"....ftypmp42", "something else"), (b"hello", "something else"),
    ],
)  # fmt: skip
def test_what_is_no_image_that_models_take_is_named(data: bytes, name: str) -> None:
    with pytest.raises(BadRequest, match=f"the body is {name}, no JPEG, PNG, GIF or BMP") as refused:
        check([("the body", data)], max_pixels=MANY)
    assert (refused.value.code, refused.value.status) == ("bad_image", 400)


@given(
    st.sampled_from([png(), jpeg(), gif(), bmp(), old_bmp(1, 1)]),
    st.integers(0, 60),
    st.binary(max_size=60),
    st.booleans(),
)
def test_any_damaged_header_is_measured_or_refused(image: bytes, at: int, damage: bytes, cut: bool) -> None:
    """A truncated image is left to the servable's decoder, which says what is wrong with it."""
    damaged = image[:at] + damage + (b"" if cut else image[at + len(damage) :])
    try:
        check([("the body", damaged)], max_pixels=MANY)
    except BadRequest as refused:
        assert refused.code in ("bad_image", "too_many_pixels")
