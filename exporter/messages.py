"""Protocol buffer messages that are told by a table, so that reading a few fields needs no generated code and no TensorFlow."""

from collections.abc import Mapping

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "string": _FIELD.TYPE_STRING, "bytes": _FIELD.TYPE_BYTES, "int32": _FIELD.TYPE_INT32, "int64": _FIELD.TYPE_INT64,
}  # fmt: skip

Table = Mapping[str, tuple[tuple[str, int, str, bool], ...]]
"""Message → (field, number, type, repeated). Types: string, bytes, int32, int64, messages; a map is repeated key and value."""


class Messages:
    """The classes of one table's messages, by name. Fields that the table leaves out are kept but not read."""

    def __init__(self, package: str, table: Table) -> None:
        # proto2 syntax: presence is kept.
        file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto2")
        for name, fields in table.items():
            described = file.message_type.add(name=name)
            for field_name, number, kind, repeated in fields:
                field = described.field.add(name=field_name, number=number)
                field.label = _FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL
                if kind in _SCALARS:
                    field.type = _SCALARS[kind]
                else:
                    field.type, field.type_name = _FIELD.TYPE_MESSAGE, f".{package}.{kind}"
        pool = descriptor_pool.DescriptorPool()
        pool.Add(file)
        self._classes = {
            name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in table
        }

    def __getitem__(self, name: str) -> type[message.Message]:
        """The class of a message."""
        return self._classes[name]
