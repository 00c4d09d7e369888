"""``variables.index``: what TensorFlow's checkpoint format says of the data files beside it. Pure; read without TensorFlow.

The file is a table as LevelDB writes it (table_format.md there; tensorflow/core/lib/io/table): blocks of sorted keys and
values, found through an index block, found through a footer. The first key is empty and holds ``BundleHeaderProto``; each
other names a tensor and holds ``BundleEntryProto`` (tensorflow/core/protobuf/tensor_bundle.proto).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import message

from exporter.messages import Messages

_MAGIC = bytes.fromhex("57fb808b247547db")
_FOOTER = 48
_TRAILER = 5  # after each block: how it is compressed, and its checksum
_UNCOMPRESSED = 0
_LONGEST_VARINT = 10
_MESSAGES = Messages(
    "slipway.tensor_bundle",
    {
        "Header": (("num_shards", 1, "int32", False),),
        "Entry": (("shard_id", 3, "int32", False), ("offset", 4, "int64", False), ("size", 5, "int64", False)),
    },
)


class UnreadableError(ValueError):
    """The bytes are no index of a checkpoint, or one that is compressed."""


@dataclass(frozen=True)
class Bundle:
    """How many data files a checkpoint has, and how many bytes each must have at least."""

    shards: int
    bytes: Mapping[int, int]

    def files(self) -> Iterator[tuple[str, int]]:
        """The names of the data files as they lie beside ``variables.index``, each with its least size."""
        for shard in range(self.shards):
            yield f"variables.data-{shard:05d}-of-{self.shards:05d}", self.bytes.get(shard, 0)


def parse(content: bytes) -> Bundle:
    """What an index says.

    Raises:
        UnreadableError: it is none, or damaged.
    """
    try:
        return _bundle(content)
    except (message.DecodeError, IndexError) as error:
        raise UnreadableError(f"damaged: {error}") from error


def _bundle(content: bytes) -> Bundle:
    if len(content) < _FOOTER or content[-len(_MAGIC) :] != _MAGIC:
        raise UnreadableError("it does not end as a table does")
    footer = content[-_FOOTER:]
    _, _, after = _handle(footer, 0)  # the meta index, which TensorFlow leaves empty
    offset, size, _ = _handle(footer, after)
    shards = 0
    least: dict[int, int] = {}
    for _, block in _entries(_block(content, offset, size)):
        data_offset, data_size, _ = _handle(block, 0)
        for key, value in _entries(_block(content, data_offset, data_size)):
            if not key:
                header: Any = _MESSAGES["Header"].FromString(value)
                shards = header.num_shards
                continue
            entry: Any = _MESSAGES["Entry"].FromString(value)
            least[entry.shard_id] = max(least.get(entry.shard_id, 0), entry.offset + entry.size)
    if shards < 1 or any(not 0 <= shard < shards for shard in least):
        raise UnreadableError(f"it tells of {shards} data files, and of tensors in {sorted(least)[:5]}")
    return Bundle(shards, least)


def _block(content: bytes, offset: int, size: int) -> bytes:
    end = offset + size
    if end + _TRAILER > len(content):
        raise UnreadableError("a block lies beyond its end")
    if content[end] != _UNCOMPRESSED:
        raise UnreadableError("its blocks are compressed")
    return content[offset:end]


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block. A key tells how many bytes it shares with the one before."""
    restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 * (restarts + 1)
    if end < 0:
        raise UnreadableError("a block is shorter than its own list of restarts")
    key, at = b"", 0
    while at < end:
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        length, at = _varint(block, at)
        if shared > len(key) or at + own + length > end:
            raise UnreadableError("an entry lies beyond its block")
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + length]
        at += own + length


def _handle(data: bytes, at: int) -> tuple[int, int, int]:
    """Offset and size of a block, and where the next handle begins."""
    offset, at = _varint(data, at)
    size, at = _varint(data, at)
    return offset, size, at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(_LONGEST_VARINT):
        byte = data[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    raise UnreadableError("a number has no end")
