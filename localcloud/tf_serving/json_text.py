"""JSON as TensorFlow Serving's parser takes it, with that parser's messages. Pure.

``orjson`` reads nearly everything; what it refuses (NaN, Infinity, text after the document) is read again by the
standard library, whose errors are put into RapidJSON's words and byte offsets.
"""

import json
import re
from typing import Any

import orjson

from localcloud.tf_serving.errors import invalid

Json = Any  # what json.loads gives: a tree of dict, list, str, int, float, bool and None

_BLANK = re.compile(r"[ \t\n\r]*")
_LITERALS = ("true", "false", "null", "NaN", "Infinity")
_INTEGERS = range(-(2**63), 2**64)


def parse(body: bytes) -> dict[str, Json]:
    """The object that ``body`` holds.

    Raises:
        ServingError: INVALID_ARGUMENT, "JSON Parse error: …" or "… Is not object".
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = _parse_leniently(body)
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: {pretty(document)} Is not object")
    return document


def pretty(value: Json) -> str:
    """``value`` as an error message shows it."""
    return json.dumps(value, indent=4, ensure_ascii=False)


def type_name(value: Json) -> str:
    """RapidJSON's name for the type of a value."""
    match value:
        case None:
            return "Null"
        case bool():
            return "True" if value else "False"
        case dict():
            return "Object"
        case list():
            return "Array"
        case str():
            return "String"
        case _:
            return "Number"


def _parse_leniently(body: bytes) -> Json:
    text = body.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    blank = _BLANK.match(text)
    start = blank.end() if blank else 0
    if start == len(text):
        raise _parse_error("The document is empty.", text, start)
    try:
        document, _ = json.JSONDecoder(strict=True, parse_int=_integer).raw_decode(text, start)
    except json.JSONDecodeError as error:
        message, position = _in_rapidjson_words(error, text)
        raise _parse_error(message, text, position) from error
    except RecursionError as error:
        raise invalid("JSON Parse error: The document is nested too deeply.") from error
    return document


def _parse_error(message: str, text: str, position: int) -> Exception:
    offset = len(text[:position].encode("utf-8", "surrogateescape"))
    return invalid(f"JSON Parse error: {message} at offset: {offset}")


def _integer(digits: str) -> int | float:
    number = int(digits) if len(digits) <= 20 else float(digits)
    return number if isinstance(number, float) or number in _INTEGERS else float(number)


def _in_rapidjson_words(error: json.JSONDecodeError, text: str) -> tuple[str, int]:
    match error.msg:
        case "Expecting ',' delimiter":
            position = _skip_blank(text, error.pos)
            if _innermost(text[:position]) == "{":
                return "Missing a comma or } after an object member.", position
            return "Missing a comma or ] after an array element.", position
        case "Expecting ':' delimiter":
            return "Missing a colon after a name of object member.", _skip_blank(text, error.pos)
        case "Expecting property name enclosed in double quotes" | "Illegal trailing comma before end of object":
            return "Missing a name for object member.", _skip_blank(text, error.pos + error.msg.startswith("Illegal"))
        case "Unterminated string starting at":
            return "Missing a closing quotation mark in string.", len(text)
        case "Invalid control character at":
            return "Invalid encoding in string.", error.pos
        case "Invalid \\uXXXX escape":
            return "Incorrect hex digit after \\u escape in string.", error.pos
        case message if message.startswith("Invalid \\escape"):
            return "Invalid escape character in string.", error.pos
        case message:
            position = _skip_blank(text, error.pos + message.startswith("Illegal"))
            return "Invalid value.", position + _matched_literal(text[position:])


def _skip_blank(text: str, position: int) -> int:
    blank = _BLANK.match(text, position)
    return blank.end() if blank else position


def _matched_literal(text: str) -> int:
    """How far ``text`` follows one of JSON's words: RapidJSON points at the first wrong letter."""
    for literal in _LITERALS:
        if text[:1] == literal[0]:
            return next((i for i, letter in enumerate(literal) if text[i : i + 1] != letter), len(literal))
    return 0


def _innermost(text: str) -> str:
    """The bracket that is open at the end of ``text``, which is well formed as far as it goes."""
    open_brackets: list[str] = []
    for found in re.finditer(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', text, re.S):
        match found[0]:
            case "[" | "{":
                open_brackets.append(found[0])
            case "]" | "}":
                open_brackets.pop()
    return open_brackets[-1] if open_brackets else ""
