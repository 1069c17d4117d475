"""What a reply is held to, as OpenAI-compatible servers are told it, and whether they heeded it."""

import json
from typing import Any

from langchain_core.exceptions import ModelInvalidRequestError

from kogemma_rag.structured_output import JsonFormat, ReplyFormat, ReplyFormatError, ToolFormat

_JSON_STARTS = tuple('{["-0123456789tfn')
_MOST_SHOWN = 200
"""Characters of a reply in a message."""


def response_format(reply_format: ReplyFormat | None) -> dict[str, Any] | None:
    """Give the `response_format` of a request; None where a reply is free text.

    Of tools, one reply calls one: a JSON schema knows no lines.
    """
    if reply_format is None:
        return None
    if isinstance(reply_format, ToolFormat) and _leaves_free(reply_format):
        return None
    if reply_format == JsonFormat(None):
        return {"type": "json_object"}
    schema = _schema(reply_format)
    _check_schema(schema)
    return {
        "type": "json_schema",
        "json_schema": {"name": "reply", "schema": schema, "strict": True},
    }


def check_reply(text: str, reply_format: ReplyFormat | None, base_url: str, *, whole: bool) -> None:
    """Refuse a reply that a server has not held to the format: some ignore it and say nothing.

    Args:
        text: The reply.
        reply_format: What it was to be held to.
        base_url: The server's address, for the message.
        whole: Whether the reply ended by itself. Of one that was cut, only the start is looked at.

    Raises:
        ModelInvalidRequestError: If the reply is not of the format.
    """
    if reply_format is None or response_format(reply_format) is None:
        return
    fault = _fault(text, _schema(reply_format)) if whole else _fault_of_start(text)
    if fault:
        raise ModelInvalidRequestError(
            f"the server at {base_url} seems to ignore response_format: {fault} in its reply "
            f"{text[:_MOST_SHOWN]!r}; take a server that has structured output, such as vLLM "
            "(transformers serve has none), or ask for JSON in words and parse the reply"
        )


def _check_schema(schema: Any) -> None:
    """Refuse what is no schema before a server is asked for it."""
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for

    try:
        validator_for(schema).check_schema(schema)
    except SchemaError as error:
        raise ReplyFormatError(
            f"the schema is malformed at {error.json_path}: {error.message}"
        ) from error


def _fault(text: str, schema: Any) -> str | None:
    from jsonschema.exceptions import best_match
    from jsonschema.validators import validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    try:
        value = json.loads(text, parse_constant=_refuse_constant)
        json.dumps(value, ensure_ascii=False).encode()
    except ValueError as error:
        return f"there is no JSON ({error})"
    # By default a reference to elsewhere would be fetched.
    validator = validator_for(schema)(schema, registry=Registry())
    try:
        mismatch = best_match(validator.iter_errors(value))
    except Unresolvable as error:
        raise ReplyFormatError(
            f"the schema refers to {error.ref!r}, which is not in it; put it there"
        ) from error
    return f"{mismatch.json_path} is not of the schema ({mismatch.message})" if mismatch else None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is none of JSON's values")


def _fault_of_start(text: str) -> str | None:
    start = text.lstrip()
    return None if not start or start.startswith(_JSON_STARTS) else "there is no JSON"


def _schema(reply_format: ReplyFormat) -> Any:
    if isinstance(reply_format, JsonFormat):
        return (
            {"type": "object"} if reply_format.schema is None else json.loads(reply_format.schema)
        )
    parts = {f"arguments_{place}": tool[1] for place, tool in enumerate(reply_format.tools)}
    calls = [
        _object(name={"const": name}, arguments={"$ref": f"#/$defs/{part}"})
        for part, (name, _) in zip(parts, reply_format.tools, strict=True)
    ]
    form = _object(tool_call={"anyOf": calls})
    if not reply_format.required and reply_format.answer_schema is not None:
        parts["answer"] = reply_format.answer_schema
        form = {"anyOf": [form, {"$ref": "#/$defs/answer"}]}
    own = {part: _moved(json.loads(schema), f"/$defs/{part}") for part, schema in parts.items()}
    return {**form, "$defs": own}


def _leaves_free(tools: ToolFormat) -> bool:
    return not tools.required and tools.answer_schema is None


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _moved(schema: Any, pointer: str) -> Any:
    """Have a schema's references to its own parts point there from within another schema.

    Servers do not follow a pointer through a list, so `pointer` has none in it.
    """
    if isinstance(schema, list):
        return [_moved(item, pointer) for item in schema]
    if not isinstance(schema, dict):
        return schema
    moved = {key: _moved(value, pointer) for key, value in schema.items()}
    if isinstance(reference := schema.get("$ref"), str) and reference.startswith("#"):
        moved["$ref"] = f"#{pointer}{reference[1:]}"
    return moved
