"""The messages of Chakra's execution traces, as MLCommons has published them (et_def.proto of mlc-chakra 1.0.0).

Only what we write is declared. `mlc-chakra` has all, and brings JupyterLab along; the tests read with it what we wrote.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

from polyrank.errors import UsageError

__all__ = ["chakra_messages", "check_chakra_can_be_written"]

_PACKAGE = "ChakraProtoMsg"
_REPEATED, _ONE_OF = "repeated", "one of the values"

# Fields: name, number, type, and what is special.
_MESSAGES: dict[str, list[tuple[str, int, str, str]]] = {
    "AttributeProto": [
        ("name", 1, "string", ""),
        ("int32_val", 7, "int32", _ONE_OF),
        ("int64_val", 9, "int64", _ONE_OF),
        ("uint64_val", 13, "uint64", _ONE_OF),
        ("bool_val", 27, "bool", _ONE_OF),
        ("string_val", 29, "string", _ONE_OF),
    ],
    "GlobalMetadata": [
        ("version", 1, "string", ""),
        ("attr", 2, "AttributeProto", _REPEATED),
    ],
    "IOInfo": [
        ("values", 1, "string", ""),
        ("shapes", 2, "string", ""),
        ("types", 3, "string", ""),
    ],
    "Node": [
        ("id", 1, "uint64", ""),
        ("name", 2, "string", ""),
        ("type", 3, "NodeType", ""),
        ("ctrl_deps", 4, "uint64", _REPEATED),
        ("data_deps", 5, "uint64", _REPEATED),
        ("start_time_micros", 6, "uint64", ""),
        ("duration_micros", 7, "uint64", ""),
        ("inputs", 8, "IOInfo", ""),
        ("outputs", 9, "IOInfo", ""),
        ("attr", 10, "AttributeProto", _REPEATED),
    ],
}

_ENUMS: dict[str, list[str]] = {  # numbered from 0 on
    "NodeType": [
        "INVALID_NODE",
        "METADATA_NODE",
        "MEM_LOAD_NODE",
        "MEM_STORE_NODE",
        "COMP_NODE",
        "COMM_SEND_NODE",
        "COMM_RECV_NODE",
        "COMM_COLL_NODE",
    ],
    "CollectiveCommType": [
        "ALL_REDUCE",
        "REDUCE",
        "ALL_GATHER",
        "GATHER",
        "SCATTER",
        "BROADCAST",
        "ALL_TO_ALL",
        "REDUCE_SCATTER",
        "REDUCE_SCATTER_BLOCK",
        "BARRIER",
    ],
}


def check_chakra_can_be_written() -> None:
    """Raise UsageError if the package that encodes is not there, or is too old."""
    try:
        from google.protobuf.proto import serialize_length_prefixed  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "the traces are written with protobuf 6.31 or later: pip install --upgrade protobuf"
        ) from error


@cache
def chakra_messages() -> Any:
    """The messages' classes and the enumerations' numbers, by their names."""
    from google.protobuf import descriptor_pool, message_factory

    # A pool of its own: another package may have the same messages in the common one.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(_file())
    classes = {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in _MESSAGES
    }
    numbers = {value: number for values in _ENUMS.values() for number, value in enumerate(values)}
    return SimpleNamespace(**classes, **numbers)


def _file() -> Any:
    from google.protobuf import descriptor_pb2

    file = descriptor_pb2.FileDescriptorProto(
        name="et_def.proto", package=_PACKAGE, syntax="proto3"
    )
    for enum, values in _ENUMS.items():
        declared = file.enum_type.add(name=enum)
        for number, value in enumerate(values):
            declared.value.add(name=value, number=number)
    for message, fields in _MESSAGES.items():
        made = file.message_type.add(name=message)
        for name, number, kind, special in fields:
            field = made.field.add(name=name, number=number)
            field.label = field.LABEL_REPEATED if special == _REPEATED else field.LABEL_OPTIONAL
            if kind in _MESSAGES or kind in _ENUMS:
                field.type = field.TYPE_MESSAGE if kind in _MESSAGES else field.TYPE_ENUM
                field.type_name = f".{_PACKAGE}.{kind}"
            else:
                field.type = getattr(field, f"TYPE_{kind.upper()}")
            if special == _ONE_OF:
                if not made.oneof_decl:
                    made.oneof_decl.add(name="value")
                field.oneof_index = 0
    return file
