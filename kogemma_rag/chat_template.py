"""LangChain messages to the turns a Gemma allows, and those turns to token ids of its own template.

Knows no weights and no generation. Ids, never text, go on to the model: a control token written in
a message stays ordinary text, so a retrieved document cannot forge a turn.
"""

import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from kogemma_rag.control_tokens import is_control_token
from kogemma_rag.tool_calls import break_frames, call_line, result_line

# Gemma's template refuses a chat that does not start, or end, with a user turn.
OPENING = "대화를 시작해 주세요."
CONTINUATION = "계속해 주세요."

END_OF_TURN = "<end_of_turn>"

BosPolicy = Literal["template", "double"]

_ROLES = {
    "user": "user",
    "human": "user",
    "system": "user",
    "developer": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "model": "assistant",
}
_TEXT_BLOCKS = {"text", "text-plain"}
# In a reply of some model these repeat `tool_calls`, or are its thoughts, which no template sends.
_SKIPPED_REPLY_BLOCKS = {
    "tool_use",
    "tool_call",
    "tool_call_chunk",
    "invalid_tool_call",
    "function_call",
    "input_json_delta",
    "reasoning",
    "thinking",
    "redacted_thinking",
}


class UnsupportedMessageError(ValueError):
    """A message holds what a text-only Gemma cannot be given, such as an image."""


def repair_messages(
    messages: Sequence[BaseMessage], *, instructions: str = ""
) -> list[dict[str, str]]:
    """Turn any LangChain conversation into turns that alternate, from user to user.

    System text becomes part of the user turn where it stands, hence of the first one as a rule.
    Neighbours of one role are joined by an empty line. A conversation that starts or ends with the
    AI gets a short user turn there. Tool calls and results are rendered as one JSON line each.
    What looks like one of these lines elsewhere is broken by an invisible space. Names of speakers
    are left out: the template has no place for them. `messages` is not changed.

    Args:
        messages: The conversation.
        instructions: What the model is told besides, at the beginning of the first user turn.

    Returns:
        Dicts of "role" ("user" or "assistant") and "content", as chat templates and
        OpenAI-compatible servers take them. The first and the last are the user's.

    Raises:
        UnsupportedMessageError: If there is no message, or one holds an image, audio, a file,
            or anything else that is not text.
    """
    if not messages:
        raise UnsupportedMessageError("there are no messages; give at least one")
    turns: list[dict[str, str]] = []
    tool_names: dict[str, str] = {}
    for position, message in enumerate(messages, start=1):
        role, text = _render(message, position, tool_names)
        _check_encodable(text, position)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] = _join([turns[-1]["content"], text])
        else:
            turns.append({"role": role, "content": text})
    if turns[0]["role"] == "assistant":
        turns.insert(0, {"role": "user", "content": instructions or OPENING})
    else:
        turns[0]["content"] = _join([instructions, turns[0]["content"]])
    if turns[-1]["role"] == "assistant":
        turns.append({"role": "user", "content": CONTINUATION})
    return turns


def _render(message: BaseMessage, position: int, tool_names: dict[str, str]) -> tuple[str, str]:
    written = _text(message, position)
    text = break_frames(written)
    if isinstance(message, HumanMessage | SystemMessage):
        return "user", text
    if isinstance(message, AIMessage):
        tool_names.update({call["id"]: call["name"] for call in message.tool_calls if call["id"]})
        return "assistant", _join([text, *_tool_call_lines(message)])
    if isinstance(message, ToolMessage):
        name = message.name or tool_names.get(message.tool_call_id)
        return "user", result_line(name, written, failed=message.status == "error")
    if isinstance(message, FunctionMessage):
        return "user", result_line(message.name, written)
    if isinstance(message, ChatMessage):
        role = _ROLES.get(message.role.lower())
        return (role, text) if role else ("user", break_frames(f"{message.role}: {written}"))
    raise UnsupportedMessageError(
        f"message {position} is a {type(message).__name__}, which is no part of a conversation; "
        "leave it out"
    )


def _tool_call_lines(message: AIMessage) -> list[str]:
    calls: list[tuple[str | None, Any]] = [
        *((call["name"], call["args"]) for call in message.tool_calls),
        *((call["name"], call["args"]) for call in message.invalid_tool_calls),
    ]
    return [call_line(name, args) for name, args in calls]


def _join(texts: Iterable[str]) -> str:
    return "\n\n".join(text for text in texts if text)


def _check_encodable(text: str, position: int) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UnsupportedMessageError(
            f"message {position} holds half of a surrogate pair, {text[error.start]!r}, at "
            f"character {error.start}; decode its source with the right encoding"
        ) from error


def _text(message: BaseMessage, position: int) -> str:
    if isinstance(message.content, str):
        return message.content
    return "".join(_block_text(block, message, position) for block in message.content)


def _block_text(block: str | dict[str, Any], message: BaseMessage, position: int) -> str:
    if isinstance(block, str):
        return block
    kind = block.get("type")
    if kind in _TEXT_BLOCKS and isinstance(block.get("text"), str):
        return str(block["text"])
    if kind in _SKIPPED_REPLY_BLOCKS and isinstance(message, AIMessage):
        return ""
    raise UnsupportedMessageError(
        f"message {position} ({message.type}) holds a content block of type {kind!r}; this model "
        "reads text only: leave the block out, or put what it shows into words"
    )


class ChatTemplate:
    """The chat template of one tokenizer, applied so that only the template writes control tokens.

    Safe to use from several threads.

    Args:
        tokenizer: A Gemma tokenizer of transformers' fast kind, with a chat template. It becomes
            this object's own: give a copy of one that others use.
        bos: "template" for the one <bos> of the template; "double" puts another one before it, as
            the Ko-Gemma release's own example does.

    Raises:
        ImportError: If the installed transformers is too old to encode safely.
        ValueError: If the tokenizer has no chat template, or is not a Gemma's.
    """

    def __init__(self, tokenizer: Any, *, bos: BosPolicy = "template") -> None:
        _require_sanitizing_transformers()
        if not getattr(tokenizer, "chat_template", None):
            raise ValueError(
                "the tokenizer has no chat template; take an instruction-tuned model's tokenizer, "
                "or set tokenizer.chat_template"
            )
        self.tokenizer = tokenizer
        self._bos = bos
        self._lock = threading.Lock()
        self._own_counts: dict[tuple[str, ...], Counter[int]] = {}
        self._control_ids = self._find_control_ids()
        self.stop_ids = self._find_stop_ids()
        """Ids that end a reply: <eos> and <end_of_turn>."""
        written = self._template_counts(("user", "assistant", "user"))
        self.marker_ids = frozenset(written) | frozenset(tokenizer.all_special_ids)
        """Ids that stand for no text of a reply."""

    @classmethod
    def load(cls, name: str, *, bos: BosPolicy = "template", **hub: Any) -> "ChatTemplate":
        """Read the tokenizer of a hub name or a directory; `hub` goes to `from_pretrained`.

        Raises:
            OSError: If there is no tokenizer, or it has no chat template.
        """
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(name, **hub)
        if not tokenizer.chat_template:  # transformers makes up an empty one where there is none
            raise FileNotFoundError(f"there is no tokenizer with a chat template in {name!r}")
        return cls(tokenizer, bos=bos)

    def encode(self, turns: Sequence[Mapping[str, str]]) -> list[int]:
        """Give the token ids of a prompt that asks for the next reply to `turns`.

        Args:
            turns: As `repair_messages` gives them.

        Raises:
            ValueError: If the ids do not begin with the one and only <bos>, or hold a control
                token that the template did not write.
        """
        ids = self._apply(turns, self.tokenizer.chat_template)
        bos = self.tokenizer.bos_token_id
        if ids[:1] != [bos] or ids.count(bos) != 1:
            raise ValueError(
                f"the chat template must write <bos> (id {bos}) once and first, but wrote it "
                f"{ids.count(bos)} times and begins with ids {ids[:3]}; mend its chat_template"
            )
        own = self._template_counts(tuple(turn["role"] for turn in turns))
        found = self._count_control_ids(ids)
        if found != own:
            names = {self.tokenizer.convert_ids_to_tokens(i): found[i] for i in found - own}
            raise ValueError(
                f"the messages would forge control tokens: {names or 'some are missing'}; "
                "this tokenizer cannot encode them safely"
            )
        return [bos, *ids] if self._bos == "double" else ids

    def encode_text(self, text: str) -> list[int]:
        """Give the token ids of `text` as it would stand in a message, without a turn around it."""
        return self._apply([{"role": "user", "content": text}], "{{ messages[0]['content'] }}")

    def _apply(self, turns: Sequence[Mapping[str, str]], chat_template: str) -> list[int]:
        with self._lock:
            ids: list[int] = self.tokenizer.apply_chat_template(
                [dict(turn) for turn in turns],
                chat_template=chat_template,
                add_generation_prompt=True,
                tokenize=True,
                return_dict=False,
                sanitize_control_tokens=True,
            )
        return ids

    def _find_control_ids(self) -> frozenset[int]:
        """Tell transformers which tokens no message may hold."""
        control = {
            token.content: index
            for index, token in self.tokenizer.added_tokens_decoder.items()
            if token.special or is_control_token(token.content)
        }
        self.tokenizer.chat_control_tokens = list(control)
        return frozenset(control.values())

    def _find_stop_ids(self) -> frozenset[int]:
        end_of_turn = self.tokenizer.convert_tokens_to_ids(END_OF_TURN)
        if end_of_turn not in self._control_ids or self.tokenizer.eos_token_id is None:
            raise ValueError(
                f"the tokenizer has no {END_OF_TURN} or no <eos> token, so it is not that of an "
                "instruction-tuned Gemma; take the tokenizer that came with the model"
            )
        return frozenset({end_of_turn, self.tokenizer.eos_token_id})

    def _template_counts(self, roles: tuple[str, ...]) -> Counter[int]:
        """How often the template itself writes each control token for turns of these roles."""
        if roles not in self._own_counts:
            turns = [{"role": role, "content": "x"} for role in roles]
            ids = self._apply(turns, self.tokenizer.chat_template)
            self._own_counts[roles] = self._count_control_ids(ids)
        return self._own_counts[roles]

    def _count_control_ids(self, ids: Iterable[int]) -> Counter[int]:
        return Counter(index for index in ids if index in self._control_ids)


def _require_sanitizing_transformers() -> None:
    import transformers
    from packaging.version import Version

    if Version(transformers.__version__) < Version("5.20"):
        raise ImportError(
            f"transformers {transformers.__version__} cannot keep control tokens out of messages; "
            "pip install -U 'transformers>=5.20'"
        )
