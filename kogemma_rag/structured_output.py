"""What a reply is held to, and that as the tokens a model may take next (by xgrammar).

Knows tokens, but neither a model nor messages.
"""

import json
import re
import threading
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from kogemma_rag.control_tokens import is_control_token
from kogemma_rag.json_schema import UnenforceableSchemaError, enforceable_schema
from kogemma_rag.tool_calls import CALL_TRIGGER, call_frame

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class JsonFormat:
    """JSON on one line, with a space after each comma and colon and nowhere else.

    Attributes:
        schema: A JSON schema, itself as JSON text; None allows any JSON object.
    """

    schema: str | None = None


@dataclass(frozen=True)
class ToolFormat:
    """Calls of tools, each a line in the form of `tool_calls`.

    Attributes:
        tools: Name and JSON schema of the arguments (as JSON text) of each tool that may be called.
        required: Whether the reply is calls and nothing else, at least one; otherwise it is free
            text that may hold calls.
        parallel: Whether more than one call is allowed.
        answer_schema: A JSON schema, as JSON text, that a reply without calls is held to; such a
            reply is JSON, in place of free text. Without meaning where calls are required.
    """

    tools: tuple[tuple[str, str], ...]
    required: bool = False
    parallel: bool = True
    answer_schema: str | None = None


ReplyFormat = JsonFormat | ToolFormat


class ReplyFormatError(ValueError):
    """A reply cannot be held to a format, or was not."""


# Compiled grammars that a loaded model keeps; one takes some hundred kilobytes.
_CACHE_BYTES = 64 * 2**20
_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")

# Mends of the grammar xgrammar writes. A string of limited length might hold raw control characters
# there, and any string half of a surrogate pair; Korean might be written as escapes.
_CHARACTER = r"[^\0-\x1f\"\\\ud800-\udfff]"
_MENDS = (
    (r"[^\0-\x1f\"\\\r\n]", _CHARACTER),
    (r"[^\"\\\r\n]", _CHARACTER),
    (
        r'[\"\\/bfnrt]) | ("u" [A-Fa-f0-9] [A-Fa-f0-9] [A-Fa-f0-9] [A-Fa-f0-9])',
        r'[\"\\bfnrt]) | ("u00" ("0" [0-7bef] | "1" [0-9a-f]))',
    ),
)


class GrammarCompiler:
    """Turns reply formats into grammars over the tokens of one model. Safe to use from threads.

    Args:
        tokenizer: A byte-fallback tokenizer of transformers' fast kind.
        vocabulary_size: Width of the model's logits; ids past the tokenizer's are never allowed.
        stop_ids: Ids that end a reply.
    """

    def __init__(self, tokenizer: Any, vocabulary_size: int, stop_ids: Collection[int]) -> None:
        self._tokenizer = tokenizer
        self._vocabulary_size = vocabulary_size
        self._stop_ids = frozenset(stop_ids)
        self._lock = threading.Lock()
        self._compiler: Any = None

    def constraint(self, reply_format: ReplyFormat) -> "TokenGrammar":
        """Give the state of one reply in the grammar of its format.

        Raises:
            ReplyFormatError: If a schema is malformed, nothing satisfies it, or a grammar cannot
                hold a reply to it.
        """
        compiler = self._loaded()
        if isinstance(reply_format, JsonFormat):
            schema = '{"type": "object"}' if reply_format.schema is None else reply_format.schema
            build = partial(compiler.compile_grammar, _grammar(schema, "the schema"))
        else:
            build = partial(compiler.compile_structural_tag, _tool_tags(reply_format))
        try:
            return TokenGrammar(build(), self._vocabulary_size)
        except RuntimeError as error:
            raise ReplyFormatError(
                f"xgrammar cannot compile the schema: {_reason(error)}; simplify it, above all "
                "patterns that repeat something more than 128 times"
            ) from error

    def _loaded(self) -> Any:
        with self._lock:
            if self._compiler is None:
                import xgrammar

                vocabulary = xgrammar.TokenizerInfo(
                    self._token_bytes(),
                    vocab_type=xgrammar.VocabType.RAW,
                    stop_token_ids=sorted(self._stop_ids),
                )
                self._compiler = xgrammar.GrammarCompiler(
                    vocabulary, max_threads=4, cache_limit_bytes=_CACHE_BYTES
                )
            return self._compiler

    def _token_bytes(self) -> list[bytes]:
        """Give the bytes of each token, none for those that are no text; xgrammar bars these."""
        added = self._tokenizer.added_tokens_decoder.items()
        control = {index for index, token in added if is_control_token(token.content)}
        control |= set(self._tokenizer.all_special_ids)
        table = [b""] * self._vocabulary_size
        for piece, index in self._tokenizer.get_vocab().items():
            if index < self._vocabulary_size and index not in control:
                byte = _BYTE_TOKEN.fullmatch(piece)
                table[index] = (
                    bytes([int(byte[1], 16)]) if byte else piece.replace("▁", " ").encode()
                )
        return table


class TokenGrammar:
    """Where one reply stands in its grammar. For one thread at a time."""

    def __init__(self, compiled: Any, vocabulary_size: int) -> None:
        import xgrammar

        self._apply = xgrammar.apply_token_bitmask_inplace
        self._matcher = xgrammar.GrammarMatcher(compiled)
        self._mask = xgrammar.allocate_token_bitmask(1, vocabulary_size)
        self._width = vocabulary_size
        self._fill_mask()  # so that a grammar of nothing at all is refused at once

    def constrain(self, logits: "torch.Tensor") -> None:
        """Set the logits of tokens that may not come next to -inf, in place.

        Args:
            logits: Float, shape (vocabulary,).

        Raises:
            ReplyFormatError: If no token may come next, because nothing satisfies the schema.
        """
        if logits.shape != (self._width,):
            raise ValueError(
                f"logits have shape {tuple(logits.shape)}, but the vocabulary has {self._width}; "
                "give one row of logits"
            )
        self._fill_mask()
        self._apply(logits.unsqueeze(0), self._mask.to(logits.device))

    def accept(self, token: int) -> None:
        """Take the token that comes next.

        Raises:
            ReplyFormatError: If it may not; the state is as before.
        """
        if not self._matcher.accept_token(token):
            raise ReplyFormatError(
                f"token {token} may not come next in a reply of this format; take one that "
                "constrain() leaves"
            )

    def _fill_mask(self) -> None:
        self._matcher.fill_next_token_bitmask(self._mask)
        if not self._mask.any():
            raise ReplyFormatError("nothing satisfies the schema, at least from here on; loosen it")


def _tool_tags(tool_format: ToolFormat) -> dict[str, Any]:
    """Give the grammar of calls in xgrammar's terms."""
    names = [name for name, _ in tool_format.tools]
    if not names or len(set(names)) < len(names):
        raise ReplyFormatError(f"tools need names, each its own, but they are {names}; rename one")
    tags = []
    for name, schema in tool_format.tools:
        begin, end = call_frame(name)
        content = {"type": "grammar", "grammar": _grammar(schema, f"the tool {name!r}")}
        tags.append({"type": "tag", "begin": begin, "content": content, "end": end})
    form: dict[str, Any] = {"tags": tags, "stop_after_first": not tool_format.parallel}
    answer = tool_format.answer_schema
    if not tool_format.required and answer is None:
        form |= {"type": "triggered_tags", "triggers": [CALL_TRIGGER]}
    else:
        form |= {"type": "tags_with_separator", "separator": "\n", "at_least_one": True}
    if not tool_format.required and answer is not None:
        answered = {"type": "grammar", "grammar": _grammar(answer, "the answer")}
        form = {"type": "or", "elements": [form, answered]}
    return {"type": "structural_tag", "format": form}


@lru_cache(maxsize=256)
def _grammar(schema: str, owner: str) -> str:
    """Give the grammar of a JSON schema in EBNF."""
    import xgrammar

    try:
        prepared = json.dumps(enforceable_schema(json.loads(schema)), ensure_ascii=False)
        grammar = str(xgrammar.Grammar.from_json_schema(prepared, any_whitespace=False))
    except json.JSONDecodeError as error:
        raise ReplyFormatError(f"{owner} has a schema that is no JSON: {error}") from error
    except RecursionError as error:
        raise ReplyFormatError(f"{owner} has a schema that is nested too deeply") from error
    except (UnenforceableSchemaError, UnicodeEncodeError, RuntimeError) as error:
        raise ReplyFormatError(
            f"{owner} has a schema that cannot be kept to: {_reason(error)}"
        ) from error
    for found, wanted in _MENDS:
        grammar = grammar.replace(found, wanted)
    return grammar


def _reason(error: Exception) -> str:
    """Give what xgrammar says, without its source lines."""
    return re.sub(r"^\[[\d:]+\] \S+: ", "", str(error)).strip()
