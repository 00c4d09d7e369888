"""Forms are read as an independent reader reads them (werkzeug's), whatever is in the files."""

from hypothesis import example, given
from hypothesis import strategies as st
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder

from deployer.errors import BadRequest
from deployer.request.multipart import files_in

BOUNDARY = "xYz"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
MOST = 8

names = st.text("abcü .-_", min_size=1, max_size=8)
contents = st.one_of(
    st.binary(min_size=1, max_size=60),
    st.lists(
        st.sampled_from([b"\r\n", b"--", b"--xYz", b"\r\n--xY", b"\r\n--xYzz", b"-", b"\n", b"\r", b"x", b"\r\n\r\n"]),
        min_size=1, max_size=10,
    ).map(b"".join),
)  # fmt: skip


def written(parts: list[tuple[str, str | None, bytes]]) -> bytes:
    """A form of these: name, file name if it is a file, content."""
    body = b""
    for name, file, content in parts:
        named = f'; filename="{file}"' if file is not None else ""
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'
        body += head.encode() + content + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


def of_werkzeug(body: bytes) -> list[tuple[str, bytes]]:
    decoder = MultipartDecoder(BOUNDARY.encode())
    decoder.receive_data(body)
    decoder.receive_data(None)
    found: list[tuple[str, bytes]] = []
    name: str | None = None
    content = b""
    while not isinstance(event := decoder.next_event(), Epilogue):
        match event:
            case File(filename=filename):
                name, content = filename, b""
            case Field():
                name = None
            case Data(data=data, more_data=more) if name is not None:
                content += data
                if not more and content:
                    found.append((name, content))
    return found


@given(st.lists(st.tuples(names, st.none() | names, contents), min_size=1, max_size=MOST))
@example([("a", "f", b"\r\n--xYz")])
def test_any_form_is_read_as_by_others(parts: list[tuple[str, str | None, bytes]]) -> None:
    body = written(parts)
    if any(b"\r\n--xYz" in content.replace(b"\r\n--xYzz", b"") for _, _, content in parts):
        return  # a writer would have taken another boundary
    if any(content.startswith(b"--xYz") for _, _, content in parts):
        return  # the end of the headers is a line break, too
    assert files_in(FORM, body, most=MOST) == [(file, content) for _, file, content in parts if file is not None]
    if not any(b"--xYz" in content for _, _, content in parts):  # which it takes for the boundary in any place
        assert files_in(FORM, body, most=MOST) == of_werkzeug(body)


@given(st.lists(st.tuples(names, names, contents), min_size=1, max_size=3), st.data())
def test_a_form_that_is_cut_off_is_refused_or_reads_as_the_files_before(
    parts: list[tuple[str, str, bytes]], data: st.DataObject
) -> None:
    body = written([(name, file, content) for name, file, content in parts])
    cut = body[: data.draw(st.integers(0, len(body)))]
    try:
        found = files_in(FORM, cut, most=MOST)
    except BadRequest as refused:
        assert refused.code == "bad_multipart"
    else:
        assert all(name in {file for _, file, _ in parts} for name, _ in found)


def test_a_folded_header_is_one() -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="f";\r\n filename="x.jpg"\r\n\r\nabc\r\n--b--\r\n'
    assert files_in("multipart/form-data; boundary=b", body, most=3) == [("x.jpg", b"abc")]
