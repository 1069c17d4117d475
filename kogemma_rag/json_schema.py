"""A JSON schema to one that says the same and of which xgrammar enforces every word, or a refusal.

xgrammar itself passes over what it cannot express, in silence. References to elsewhere are refused,
never fetched.
"""

import re
from typing import Any

_KEYWORDS = {
    "object": (
        *("properties", "required", "additionalProperties", "patternProperties", "propertyNames"),
        *("minProperties", "maxProperties"),
    ),
    "array": ("items", "prefixItems", "minItems", "maxItems"),
    "string": ("pattern", "minLength", "maxLength", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
}
_CHOICES = ("$ref", "anyOf", "oneOf", "allOf", "enum", "const")
_ASSERTIONS = ("type", *_CHOICES, *(key for keys in _KEYWORDS.values() for key in keys))
# xgrammar passes over these in silence.
_UNENFORCED = (
    *("not", "if", "then", "else", "uniqueItems", "multipleOf", "contains", "dependencies"),
    *("dependentRequired", "dependentSchemas", "$dynamicRef", "$recursiveRef"),
)
_SCHEMAS = ("items", "additionalProperties", "propertyNames", "unevaluatedProperties")
_LISTS_OF_SCHEMAS = ("anyOf", "oneOf", "allOf", "prefixItems")
_MAPS_OF_SCHEMAS = ("properties", "patternProperties", "$defs", "definitions")
_REFERENCE = re.compile(r"#(/(\$defs|definitions)/[^/]+)?")
# xgrammar writes a pattern's literals into the JSON as they are, and ignores what looks around.
_UNSAFE_PATTERN = re.compile(r'["\x00-\x1f]|\\[\\nrtfv0cx]|\\u00([01]|22|5[cC])|\(\?(?!:)')
_DECIMALS = 6
"""How many xgrammar gets right in the bounds of a number."""
_LENGTHS = ("minLength", "maxLength")
_COUNTS = (*_LENGTHS, "minItems", "maxItems", "minProperties", "maxProperties")
_MOST_COUNTED = 64
"""Characters; each took 0.1 s and more to compile for 256,000 tokens, whatever the grammar."""
_MOST_COUNTED_PROPERTIES = 32
"""Beyond, compiling takes minutes."""


class UnenforceableSchemaError(ValueError):
    """A schema is malformed, or holds what no grammar made of it would enforce."""


def enforceable_schema(schema: Any) -> Any:
    """Copy a schema so that xgrammar reads it rightly. The order of properties stays.

    What it allows may become less: a schema without a type gets one. It becomes more in two ways:
    `format` gives way to a pattern or a length beside it, and lengths over 64 are not counted.

    Raises:
        UnenforceableSchemaError: If it is malformed, or xgrammar would not enforce some keyword.
        RecursionError: If it is nested too deeply.
    """
    return _prepare(schema, "$")


def _prepare(schema: Any, path: str) -> Any:
    """Copy a schema so that xgrammar reads it rightly, refusing what it would not enforce."""
    if isinstance(schema, bool):
        return schema
    if not isinstance(schema, dict):
        raise UnenforceableSchemaError(f"{path} must be an object, not {schema!r}")
    for find in (_shape_problem, _value_problem, _combination_problem, _object_problem):
        if problem := find(schema):
            raise UnenforceableSchemaError(f"{problem} (at {path})")
    prepared = {key: _prepare_part(key, part, f"{path}.{key}") for key, part in schema.items()}
    if "oneOf" in prepared:
        prepared["anyOf"] = prepared.pop("oneOf")
    if not any(key in prepared for key in ("type", *_CHOICES)):
        # Without a type xgrammar would ignore most keywords.
        kinds = [kind for kind, keys in _KEYWORDS.items() if any(key in schema for key in keys)]
        prepared |= {"type": kinds[0]} if kinds else {}
    for key in _LENGTHS:
        if prepared.get(key, 0) > _MOST_COUNTED:
            del prepared[key]
    if any(key in prepared for key in ("pattern", *_LENGTHS)):
        prepared.pop("format", None)  # an annotation, which xgrammar would put before these
    return prepared


def _prepare_part(key: str, part: Any, path: str) -> Any:
    if key in _SCHEMAS:
        return _prepare(part, path)
    if key in _LISTS_OF_SCHEMAS:
        return [_prepare(item, f"{path}[{place}]") for place, item in enumerate(part)]
    if key in _MAPS_OF_SCHEMAS:
        return {name: _prepare(item, f"{path}.{name}") for name, item in part.items()}
    return part


def _shape_problem(schema: dict[str, Any]) -> str | None:
    for key in _MAPS_OF_SCHEMAS:
        if not isinstance(schema.get(key, {}), dict):
            return f"{key} must be an object, not {schema[key]!r}"
    for key in ("required", "enum", *_LISTS_OF_SCHEMAS):
        if not isinstance(schema.get(key, []), list):
            return f"{key} must be an array, not {schema[key]!r}"
    if not all(isinstance(name, str) for name in schema.get("required", [])):
        return f"required must hold names, not {schema['required']}"
    return None


def _combination_problem(schema: dict[str, Any]) -> str | None:
    """Say which keywords xgrammar would ignore, alone or beside another."""
    for key in _UNENFORCED:
        if schema.get(key, False) is not False:
            return f"{key} cannot be enforced; leave it out"
    for choice in _CHOICES:
        typed = choice in ("enum", "const")
        others = [key for key in _ASSERTIONS if key in schema and key != choice]
        if choice in schema and set(others) - ({"type"} if typed else set()):
            return f"{choice} cannot be enforced together with {others}; move these into it"
    reference = schema.get("$ref", "#")
    if not (isinstance(reference, str) and _REFERENCE.fullmatch(reference)):
        return f"$ref {reference!r} is not followed; put its schema under $defs"
    if "oneOf" in schema and "discriminator" not in schema:
        return "oneOf cannot be enforced without a discriminator; write anyOf"
    if len(schema.get("allOf", ["one"])) != 1:
        return "allOf cannot be enforced; merge its schemas into one"
    return None


def _object_problem(schema: dict[str, Any]) -> str | None:
    properties = schema.get("properties", {})
    required, patterns = schema.get("required", []), schema.get("patternProperties", {})
    if any(name not in properties for name in required):
        return f"required names {required}, but the properties are {list(properties)}; declare all"
    counted = "minProperties" in schema or "maxProperties" in schema
    if counted and len(properties) > _MOST_COUNTED_PROPERTIES:
        return f"more than {_MOST_COUNTED_PROPERTIES} properties cannot be counted; drop the limits"
    open_keys = [key for key in ("patternProperties", "propertyNames") if key in schema]
    beside = [key for key in _KEYWORDS["object"] if schema.get(key) and key not in open_keys]
    if len(open_keys) > 1 or len(patterns) > 1:
        return "more than one rule for the names of properties cannot be enforced; keep one"
    if "propertyNames" in schema:
        beside = [key for key in beside if key != "additionalProperties"]
    if open_keys and beside:
        return f"{open_keys[0]} cannot be enforced together with {beside}; leave one out"
    return None


def _value_problem(schema: dict[str, Any]) -> str | None:
    for pattern in [schema.get("pattern", ""), *schema.get("patternProperties", {})]:
        if not isinstance(pattern, str) or _UNSAFE_PATTERN.search(pattern):
            return (
                f"the pattern {pattern!r} cannot be enforced: it looks around, or names a "
                "character that JSON escapes; simplify it"
            )
    if "pattern" in schema and any(key in schema for key in _LENGTHS):
        return "pattern cannot be enforced together with a length; write {2,5} into the pattern"
    for key in _COUNTS:
        if type(schema.get(key, 0)) is not int or schema.get(key, 0) < 0:
            return f"{key} must be a whole number, not {schema[key]!r}"
    for key in _KEYWORDS["number"]:
        bound = schema.get(key, 0)
        if isinstance(bound, bool) or not isinstance(bound, int | float):
            return f"{key} must be a number, not {bound!r}"
        if round(bound, _DECIMALS) != bound:
            return f"{key} {bound} has too many decimals to be enforced; round it to {_DECIMALS}"
    return None
