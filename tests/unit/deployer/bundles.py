"""Small SavedModel files as TensorFlow writes them, for what reads them without TensorFlow."""

from collections.abc import Mapping, Sequence

from exporter.saved_model_proto import MESSAGES

_MAGIC = bytes.fromhex("57fb808b247547db")


def saved_model(*, assets: Sequence[str] = (), variables: bool = False, saver: bool = False) -> bytes:
    """A ``saved_model.pb`` that asks for these files."""
    model = MESSAGES["SavedModel"]()
    graph = model.meta_graphs.add()  # type: ignore[attr-defined]  # made from a table
    graph.meta_info_def.tags.append("serve")
    for name in assets:
        graph.asset_file_def.add(filename=name).tensor_info.name = "asset:0"
    if variables:
        graph.graph_def.node.add(name="w", op="VarHandleOp")
    if saver or variables:
        graph.saver_def.restore_op_name = "restore"
    return model.SerializeToString()


def bundle_index(sizes: Mapping[int, int]) -> bytes:
    """A ``variables.index`` of a tensor in each of these data files, which end after so many bytes."""
    shards = max(sizes) + 1
    entries = [(b"", b"\x08" + _varint(shards))]
    for number, (shard, size) in enumerate(sorted(sizes.items())):
        offset = size // 2
        value = b"\x18" + _varint(shard) + b"\x20" + _varint(offset) + b"\x28" + _varint(size - offset)
        entries.append((f"tensor/{number:03d}".encode(), value))
    data = _block(entries)
    trailer = b"\0" * 5
    meta_offset = len(data) + len(trailer)
    meta = _block([])
    index_offset = meta_offset + len(meta) + len(trailer)
    index = _block([(b"z", _varint(0) + _varint(len(data)))])
    handles = _varint(meta_offset) + _varint(len(meta)) + _varint(index_offset) + _varint(len(index))
    return data + trailer + meta + trailer + index + trailer + handles.ljust(40, b"\0") + _MAGIC


def _block(entries: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Keys share what they have in common with the one before, as LevelDB stores them."""
    content, before = b"", b""
    for key, value in entries:
        shared = 0
        while shared < min(len(key), len(before)) and key[shared] == before[shared]:
            shared += 1
        content += _varint(shared) + _varint(len(key) - shared) + _varint(len(value)) + key[shared:] + value
        before = key
    return content + (0).to_bytes(4, "little") + (1).to_bytes(4, "little")


def _varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])
