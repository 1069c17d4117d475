"""A tiny random Gemma with the true Gemma-1 chat template and a tokenizer laid out as Gemma's.

Ids 0 to 472 are those of google/gemma-2b-it: specials, turn tokens 106 and 107, runs of line ends
and of spaces, HTML tags, byte tokens from 217. A few hundred pieces follow; all else is bytes.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from tokenizers import AddedToken
from transformers import GemmaConfig, GemmaForCausalLM, GemmaTokenizer

from kogemma_rag.kv_cache import PrefillAttention
from kogemma_rag.model_runner import ModelRunner

CHAT_TEMPLATE = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}"
    "{% endif %}"
    "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}"
    "{% else %}{% set role = message['role'] %}{% endif %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
)

BOS, EOS, START_OF_TURN, END_OF_TURN = 2, 1, 106, 107
FIRST_BYTE = 217

_TAGS = [
    ["table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td"],
    ["h1", "h2", "h3", "h4", "h5", "h6", "blockquote"],
    ["strong", "em", "b", "i", "u", "s", "sub", "sup", "code"],
]
_HTML = [f"<{slash}{tag}>" for tags in _TAGS for slash in ("", "/") for tag in tags]
_HANGUL = (
    "가각간갈감갑값강같개거건걸검것게겨격결경계고곡공과관광교구국군권귀규그극근글금기긴길김까께"
    "나난날남내너네년노농누는능니다단달담당대더데도독동되된두드들등디따때떤또라람랑래량러런레려"
    "력련로록론료루르른를름리린립마만말매면명모목무문물미민바반발방배백번법변별병보복본부북분불"
    "비사산살상새생서석선설성세소속손송수순술스습승시식신실심아안알압앞야약양어언업없에여역연열"
    "영예오온올와완왕외요용우운울원위유육으은을음의이인일임있자작장재저적전정제조족종좌주죽준중"
    "즉지직진질집차찬참창책처천철첫체초총최추축출충치친침카크타태터토통트특파판평포표풍프피하학"
    "한할함합항해행향허현형호화확환활황회후휘히힘안녕"
)
_MERGES = [
    "▁ 이",
    "▁ 그",
    "▁ 한",
    "순 신",
    "이 순신",
    "장 군",
    "대 한",
    "▁대 한",
    "습 니",
    "습니 다",
]


def build_tokenizer(*, special_turns: bool = True) -> GemmaTokenizer:
    """Build the tokenizer; released checkpoints differ in whether turn tokens count as special."""
    added = [
        *("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<2mass>", "[@BOS@]"),
        *(f"<unused{n}>" for n in range(99)),
        *("<start_of_turn>", "<end_of_turn>"),
        *("\n" * n for n in range(1, 32)),
        *("▁" * n for n in range(2, 32)),
        *_HTML,
    ]
    merges = [(piece * n, piece) for piece in ("▁", "\n") for n in range(1, 31)]
    merges += [(left, right) for left, right in (merge.split(" ") for merge in _MERGES)]
    pieces = [
        *added,
        *(f"<0x{byte:02X}>" for byte in range(256)),
        "▁",
        *(chr(code) for code in range(0x21, 0x7F)),
        *_HANGUL,
        *("▁대", *(left + right for left, right in merges)),
        "�",
    ]
    vocab = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    turn_tokens = [
        AddedToken(token, normalized=False, special=special_turns)
        for token in ("<start_of_turn>", "<end_of_turn>")
    ]
    tokenizer = GemmaTokenizer(
        vocab=vocab,
        merges=[("▁", "대"), *merges],
        chat_template=CHAT_TEMPLATE,
        extra_special_tokens=turn_tokens if special_turns else [],
    )
    tokenizer.add_tokens(turn_tokens, special_tokens=special_turns)
    others = [token for token in added[5:] if not token.endswith("_of_turn>")]
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in others])
    return tokenizer


def build_model(vocabulary: int) -> GemmaForCausalLM:
    """Build the model, the same at every call; weights are wide so that replies vary."""
    config = GemmaConfig(
        vocab_size=vocabulary,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=8192,
        pad_token_id=0,
        eos_token_id=EOS,
        bos_token_id=BOS,
        initializer_range=0.4,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return GemmaForCausalLM(config).eval()


def save(folder: Path, *, special_turns: bool = True) -> Path:
    """Write model and tokenizer as a directory that `from_pretrained` reads."""
    tokenizer = build_tokenizer(special_turns=special_turns)
    tokenizer.save_pretrained(folder)
    build_model(len(tokenizer)).save_pretrained(folder)
    return folder


class Script:
    """Makes every tiny Gemma say given tokens, through its real forward pass.

    Args:
        tokens: What each reply goes through, over and over; or what gives them for a prompt's ids.
        pause: Seconds that each forward pass takes longer.
    """

    def __init__(
        self, tokens: Sequence[int] | Callable[[list[int]], Sequence[int]], pause: float = 0.0
    ) -> None:
        self.forwards = 0
        self.rows: list[int] = []
        """How many sequences each forward pass had."""
        self._tokens = tokens if callable(tokens) else lambda ids: tokens
        self._pause = pause
        self._replies: dict[int, tuple[int, Sequence[int]]] = {}
        self._forward, self._take = GemmaForCausalLM.forward, ModelRunner.take
        GemmaForCausalLM.forward = self._patched_forward()
        ModelRunner.take = self._patched_take()

    def _patched_take(self) -> Callable:
        def take(runner, ids, max_tokens):
            slot = self._take(runner, ids, max_tokens)
            if slot is not None:
                self._replies[slot.index] = len(ids) - 1, self._tokens(list(ids))
            return slot

        return take

    def _patched_forward(self) -> Callable:
        def forward(model, *args, **kwargs):
            output = self._forward(model, *args, **kwargs)
            self._steer(output.logits, kwargs["position_ids"], kwargs["slot_attention"])
            return output

        return forward

    def _steer(self, logits, positions, attention) -> None:
        time.sleep(self._pause)
        self.forwards += 1
        self.rows.append(len(logits))
        prefill = isinstance(attention, PrefillAttention)
        logits[:] = -100.0
        for row, slot in enumerate([attention._slot] if prefill else attention._slots):
            start, tokens = self._replies[slot]
            step = int(positions[row, -1]) - start
            logits[row, -1, tokens[step % len(tokens)]] = 100.0

    def remove(self) -> None:
        GemmaForCausalLM.forward, ModelRunner.take = self._forward, self._take


def answering(tokenizer: GemmaTokenizer, answer: Callable[[str], str]) -> Script:
    """Make every tiny Gemma reply to the text of its prompt as a model that understands might."""

    def tokens(ids: list[int]) -> list[int]:
        reply = tokenizer.encode(answer(tokenizer.decode(ids)), add_special_tokens=False)
        return [*reply, END_OF_TURN]

    return Script(tokens)
