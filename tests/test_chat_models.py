"""ChatKoGemma on a tiny random Gemma: LangChain's suites, and stricter tests of our own."""

import asyncio
import json
import subprocess
import sys
import threading

import pytest
import tiny_gemma
import torch
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler, get_usage_metadata_callback
from langchain_core.exceptions import (
    ContextOverflowError,
    ModelConnectionError,
    ModelNotFoundError,
    ModelPermissionDeniedError,
    ModelTimeoutError,
)
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.runnables import ConfigurableField
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests
from pydantic import ValidationError

from kogemma_rag.chat_model_loading import load_chat_model
from kogemma_rag.chat_models import ChatKoGemma
from kogemma_rag.checkpoints import PRESETS
from kogemma_rag.tool_calls import call_line, json_line, tool_instructions

KOREAN_PROMPTS = [
    "이순신 장군에 대해 설명해주세요.",
    "대한민국의 수도는 어디인가요?",
    "김치찌개를 끓이는 방법을 알려주세요.",
    "😀 이 그림글자는 무슨 뜻인가요?",
    "뷁이라는 글자를 읽어 보세요.",
    "쀍쀍쀍",
    "👨‍👩‍👧‍👦 가족 🇰🇷",
    "연차는 며칠인가요?\n\n출장비는 얼마인가요?",
    "훈민정음은 누가 만들었습니까?",
    "한글과 English를 섞어 써도 되나요?",
    "ㄱㄴㄷ ㅏㅑㅓ",
    "한글을 풀어 쓴 NFD: 서울",
    "漢字와 ひらがな와 кириллица",
    "1 + 2 = ?",
    "표: | 가 | 나 |",
    "`print('안녕')`을 설명해줘",
    "기호 < 와 > 와 \\ 의 차이",
    "   앞뒤에 빈칸   ",
    "꿿 뛟 쫿 흫",
    "가" * 200,
]


@pytest.fixture
def chat(tiny_model, tiny_tokenizer) -> ChatKoGemma:
    return ChatKoGemma(tiny_model, tokenizer=tiny_tokenizer, max_tokens=40)


def understand(prompt: str) -> str:
    """What a model that understands might reply to the prompts of LangChain's suites."""
    earlier, _, question = prompt.rpartition("<start_of_turn>user\n")
    if earlier.endswith("<end_of_turn>\n") and "tool_result" in question:
        return "날씨가 맑습니다."
    for name, arguments in (
        ("magic_function_no_args", {}),
        ("magic_function", {"input": 3}),
        ("greeting_generator", {"answer_style": "Pirate"}),
        ("get_weather", {"location": "San Francisco, CA"}),
        ("my_adder_tool", {"a": 3, "b": 4}),
    ):
        if f'"name": "{name}"' in prompt:
            return call_line(name, arguments)
    if "unicode_customer" in prompt:
        name = "こんにちは株式会社" if "こんにちは" in question else "你好啊集团"
        return call_line("unicode_customer", {"customer_name": name, "description": "客户"})
    if "punchline" in prompt:
        return json_line({"setup": "고양이가 왜 웃나요?", "punchline": "쥐가 웃겨서요."})
    return "고양이는 낮잠을 좋아합니다. 그리고 물고기도 좋아합니다."


class Suite:
    """What both of LangChain's suites are told: every capability that a text model has."""

    @pytest.fixture(autouse=True)
    def _set_directory(self, tiny_directory, tiny_tokenizer):
        self.directory = tiny_directory
        script = tiny_gemma.answering(tiny_tokenizer, understand)
        yield
        script.remove()

    @property
    def chat_model_class(self) -> type[ChatKoGemma]:
        return ChatKoGemma

    @property
    def chat_model_params(self) -> dict:
        return {"model": str(self.directory)}

    @property
    def supports_json_mode(self) -> bool:
        return True

    @pytest.fixture(autouse=True)
    def _set_other(self, tmp_path_factory) -> None:
        Suite.other = tiny_gemma.save(tmp_path_factory.mktemp("other"))

    @property
    def model_override_value(self) -> str:
        return str(self.other)


class TestStandardUnit(Suite, ChatModelUnitTests):
    @property
    def chat_model_params(self) -> dict:
        return {"model": "google/gemma-2b-it"}  # nothing is loaded


class TestStandardIntegration(Suite, ChatModelIntegrationTests):
    pass


# --- The text is that of the tokens of model.generate ---


def generated_tokens(model, tokenizer, messages, max_tokens):
    ids = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=False
    )
    output = model.generate(
        torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        do_sample=False,
        max_new_tokens=max_tokens,
        eos_token_id=[1, 107],
    )
    return ids, output[0, len(ids) :].tolist()


def whole_text(tokenizer, tokens):
    """All bytes at once; bytes that are no character are left out."""
    raw = b""
    for token in tokens:
        piece = tokenizer.convert_ids_to_tokens(token)
        if 217 <= token < 473:
            raw += bytes([token - 217])
        elif token not in (0, 1, 2, 3, 4, 106, 107):
            raw += piece.replace("▁", " ").encode()
    return raw.decode("utf-8", errors="ignore")


@pytest.mark.parametrize("question", KOREAN_PROMPTS)
def test_greedy_replies_are_those_of_generate(chat, tiny_model, tiny_tokenizer, question) -> None:
    ids, tokens = generated_tokens(
        tiny_model, tiny_tokenizer, [{"role": "user", "content": question}], 40
    )
    reply = chat.invoke(question)
    assert reply.content == whole_text(tiny_tokenizer, tokens)
    assert "\ufffd" not in reply.content
    assert reply.usage_metadata == {
        "input_tokens": len(ids),
        "output_tokens": len(tokens),
        "total_tokens": len(ids) + len(tokens),
    }
    ended = tokens[-1] in (1, 107)
    assert reply.response_metadata["finish_reason"] == ("stop" if ended else "length")
    pieces = [chunk.content for chunk in chat.stream(question)]
    assert all(pieces)
    assert "".join(pieces) == reply.content


def test_a_conversation_has_the_reply_of_generate(chat, tiny_model, tiny_tokenizer) -> None:
    turns = [
        {"role": "user", "content": "규칙: 짧게.\n\n안녕"},
        {"role": "assistant", "content": "안녕하세요"},
        {"role": "user", "content": "수도는?"},
    ]
    _, tokens = generated_tokens(tiny_model, tiny_tokenizer, turns, 40)
    messages = [
        SystemMessage("규칙: 짧게."),
        HumanMessage("안녕"),
        AIMessage("안녕하세요"),
        HumanMessage("수도는?"),
    ]
    assert chat.invoke(messages).content == whole_text(tiny_tokenizer, tokens)


async def test_every_way_to_call_gives_the_same_reply(chat) -> None:
    questions = KOREAN_PROMPTS[:4]
    replies = [chat.invoke(question).content for question in questions]
    assert len(set(replies)) == 4
    assert [(await chat.ainvoke(question)).content for question in questions] == replies
    assert [reply.content for reply in chat.batch(questions)] == replies
    assert [reply.content for reply in await chat.abatch(questions)] == replies
    pieces = [chunk.content async for chunk in chat.astream(questions[0])]
    assert all(pieces)
    assert "".join(pieces) == replies[0]
    streaming = ChatKoGemma(
        chat.model, tokenizer=chat.tokenizer, max_tokens=40, streaming=True
    ).invoke(questions[0])
    assert streaming.content == replies[0]


# --- Options ---


def test_options_in_constructor_bind_and_call(chat, say, tiny_tokenizer) -> None:
    say(*tiny_tokenizer.encode("가나다라마바사", add_special_tokens=False), 107)
    made = ChatKoGemma(chat.model, tokenizer=chat.tokenizer, max_tokens=3, stop=["나다"])
    assert made.invoke("q").content == "가"
    assert made.bind(stop=["다"]).invoke("q").content == "가나"
    assert made.invoke("q", stop=["라", "나"]).content == "가"
    assert made.invoke("q", stop=[]).content == "가나다"
    assert made.bind(max_tokens=5).invoke("q", stop=[]).content == "가나다라마"
    assert made.bind(max_tokens=5).invoke("q", max_tokens=2, stop=[]).content == "가나"
    configurable = made.configurable_fields(max_tokens=ConfigurableField(id="length"))
    configured = configurable.with_config(configurable={"length": 1})
    assert configured.invoke("q").content == "가"
    assert chat.invoke("q").content == "가나다라마바사"


def test_sampling_options_matter(chat) -> None:
    def ask(**options):
        return chat.invoke("안녕", **options).content

    assert ask(temperature=1.0, seed=1) == ask(temperature=1.0, seed=1)
    assert ask(temperature=1.0, seed=1) != ask(temperature=1.0, seed=2)
    assert ask(temperature=1.0, seed=1) != ask(temperature=3.0, seed=1)
    assert ask(temperature=1.0, top_p=1e-6, seed=1) == ask() == ask(temperature=0, seed=5)


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"max_tokens": 0},
        {"stop": [""]},
        {"stop": "글"},
        {"timeout": 0},
        {"seed": "x"},
    ],
)
def test_options_out_of_bounds_are_refused(chat, options) -> None:
    name = next(iter(options))
    with pytest.raises(ValidationError, match=name):
        ChatKoGemma(chat.model, tokenizer=chat.tokenizer, **options)
    with pytest.raises(ValidationError, match=name):
        chat.bind(**options).invoke("q")


def test_unknown_arguments_are_refused_and_the_known_ones_named(chat) -> None:
    with pytest.raises(TypeError, match=r"\['max_length', 'n'\].*max_tokens.*temperature"):
        ChatKoGemma(n=2, max_length=5)
    for call in (chat.invoke, lambda *a, **k: list(chat.stream(*a, **k)), chat.bind(n=1).invoke):
        with pytest.raises(TypeError, match=r"\['do_sample'.*\].*max_tokens, .*temperature"):
            call("q", do_sample=True)


def test_models_and_tokenizers_that_do_not_go_together_are_refused(chat, tiny_directory) -> None:
    with pytest.raises(ValidationError, match="needs tokenizer= too"):
        ChatKoGemma(chat.model)
    with pytest.raises(ValidationError, match="brings its own tokenizer"):
        ChatKoGemma(tiny_directory, tokenizer=chat.tokenizer)
    with pytest.raises(ValidationError, match=r"model\.to"):
        ChatKoGemma(chat.model, tokenizer=chat.tokenizer, device="cpu")


def test_a_reply_that_takes_too_long(chat, say) -> None:
    say(500)
    with pytest.raises(ModelTimeoutError, match=r"timeout=0\.02 s and had \d+ tokens"):
        chat.invoke("q", timeout=0.02, max_tokens=5000)
    assert chat.invoke("q", timeout=60).usage_metadata["output_tokens"] == 40


# --- Ends ---


def test_stop_strings_cut_the_same_text_in_every_mode(chat, tiny_model, tiny_tokenizer) -> None:
    whole = chat.invoke(KOREAN_PROMPTS[0]).content
    assert len(whole) > 20
    for start in range(1, len(whole) - 4, 7):
        for length in (1, 2, 4):
            stop = [whole[start : start + length]]
            expected = whole[: whole.index(stop[0])]
            reply = chat.invoke(KOREAN_PROMPTS[0], stop=stop)
            pieces = [chunk.content for chunk in chat.stream(KOREAN_PROMPTS[0], stop=stop)]
            assert reply.content == "".join(pieces) == expected
            assert reply.response_metadata["finish_reason"] == "stop"


def test_a_reply_that_ends_like_the_beginning_of_a_stop_string(chat, say, tiny_tokenizer) -> None:
    say(*tiny_tokenizer.encode("다 가나", add_special_tokens=False), 107)
    assert chat.invoke("q", stop=["가나라", "나라"]).content == "다 가나"
    assert chat.invoke("q", stop=["가나라"], max_tokens=3).content == "다 가"
    assert [c.content for c in chat.stream("q", stop=["가나라"])] == ["다", " ", "가나"]


def test_a_reply_without_text(chat, say) -> None:
    say(107)
    reply = chat.invoke("q")
    assert (reply.content, reply.response_metadata["finish_reason"]) == ("", "stop")
    assert reply.usage_metadata["output_tokens"] == 1
    assert [chunk.content for chunk in chat.stream("q")] == [""]


def test_window(chat, say) -> None:
    say(1)
    prompt = chat.get_num_tokens_from_messages([HumanMessage("q")])
    assert chat.invoke("q", max_tokens=8192 - prompt).content == ""
    with pytest.raises(ContextOverflowError, match=rf"{prompt} tokens .* 8193, .* window is 8192"):
        chat.invoke("q", max_tokens=8193 - prompt)


# --- Counting ---


def test_token_counts_are_exact_without_weights(tiny_directory, tiny_tokenizer, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("weights were loaded")

    monkeypatch.setattr("kogemma_rag.weights.load_weights", refuse)
    chat = ChatKoGemma(tiny_directory)
    text = "이순신 장군 뷁 😀"
    assert chat.get_token_ids(text) == tiny_tokenizer.encode(text, add_special_tokens=False)
    assert chat.get_num_tokens(text) == len(tiny_tokenizer.encode(text, add_special_tokens=False))
    messages = [SystemMessage("규칙"), HumanMessage("질문")]
    turns = [{"role": "user", "content": "규칙\n\n질문"}]
    expected = tiny_tokenizer.apply_chat_template(
        turns, add_generation_prompt=True, tokenize=True, return_dict=False
    )
    assert chat.get_num_tokens_from_messages(messages) == len(expected)
    tool = {"name": "날씨", "description": "날씨", "parameters": {"type": "object"}}
    told = tool_instructions([convert_to_openai_tool(tool)])
    turns = [{"role": "user", "content": f"{told}\n\n규칙\n\n질문"}]
    expected = tiny_tokenizer.apply_chat_template(
        turns, add_generation_prompt=True, tokenize=True, return_dict=False
    )
    assert chat.get_num_tokens_from_messages(messages, tools=[tool]) == len(expected)
    counted = ChatKoGemma(tiny_directory, custom_get_token_ids=lambda text: [1] * len(text))
    assert counted.get_num_tokens("가나다") == 3


def test_profiles_are_known_without_loading(tiny_directory, chat, tmp_path) -> None:
    assert list(PRESETS) == [
        "nlpai-lab/ko-gemma-2b-v1",
        "nlpai-lab/ko-gemma-7b-v1",
        "google/gemma-2b-it",
        "google/gemma-7b-it",
    ]
    for model in (*PRESETS, tiny_directory):
        profile = ChatKoGemma(model).profile
        assert profile["max_input_tokens"] == 8192
        assert profile["tool_calling"] is profile["structured_output"] is True
        assert profile["image_inputs"] is False
    assert chat.profile["max_input_tokens"] == 8192
    assert "max_input_tokens" not in ChatKoGemma("someone/some-gemma").profile


# --- LangChain around it ---


def test_callbacks_see_the_pieces_in_order(chat) -> None:
    class Tokens(BaseCallbackHandler):
        def __init__(self):
            self.seen = []

        def on_llm_new_token(self, token, **kwargs):
            self.seen.append(token)

    handler = Tokens()
    pieces = [c.content for c in chat.stream("안녕", config={"callbacks": [handler]})]
    assert handler.seen == pieces


def test_usage_is_counted_by_model_name(tiny_directory) -> None:
    chat = ChatKoGemma(tiny_directory, max_tokens=5)
    with get_usage_metadata_callback() as usage:
        chat.invoke("안녕")
        list(chat.stream("안녕"))
    each = chat.get_num_tokens_from_messages([HumanMessage("안녕")])
    assert usage.usage_metadata[str(tiny_directory)]["input_tokens"] == 2 * each


async def test_events_and_v1_content(chat) -> None:
    events = [event async for event in chat.astream_events("안녕", version="v2")]
    pieces = [e["data"]["chunk"].content for e in events if e["event"] == "on_chat_model_stream"]
    reply = chat.invoke("안녕").content
    assert "".join(pieces) == reply
    v1 = ChatKoGemma(chat.model, tokenizer=chat.tokenizer, max_tokens=40, output_version="v1")
    assert v1.invoke("안녕").content == [{"type": "text", "text": reply}]


def test_tracing_names(chat, tiny_directory) -> None:
    params = ChatKoGemma("google/gemma-2b-it", max_tokens=7, stop=["가"])._get_ls_params()
    assert params == {
        "ls_provider": "kogemma",
        "ls_model_type": "chat",
        "ls_model_name": "google/gemma-2b-it",
        "ls_temperature": 0.0,
        "ls_max_tokens": 7,
        "ls_stop": ["가"],
    }
    assert chat._get_ls_params(stop=["나"])["ls_model_name"] == "GemmaForCausalLM"
    assert chat._get_ls_params(stop=["나"])["ls_stop"] == ["나"]


def test_what_is_written_of_a_model_holds_no_key_and_no_weights(chat, tiny_directory) -> None:
    named = ChatKoGemma(tiny_directory, api_key="hf_secret")
    for written in (repr(named), json.dumps(named._serialized), json.dumps(named.asdict())):
        assert str(tiny_directory) in written
        assert "hf_secret" not in written
    for written in (repr(chat), json.dumps(chat._serialized), json.dumps(chat.asdict())):
        assert "GemmaForCausalLM" in written
        assert len(written) < 1000


def test_a_cached_reply_serves_its_own_model_only(chat, tiny_tokenizer, say) -> None:
    cache = InMemoryCache()
    options = {"tokenizer": tiny_tokenizer, "max_tokens": 3, "cache": cache}
    script = say(500)
    first = ChatKoGemma(chat.model, **options)
    first.invoke("안녕")
    first.invoke("안녕")
    assert script.forwards == 3
    first.invoke("안녕", max_tokens=2)
    assert script.forwards == 5
    before = script.forwards
    other = ChatKoGemma(tiny_gemma.build_model(len(tiny_tokenizer)), **options)
    other.invoke("안녕")
    assert script.forwards == before + 3


def test_cached_replies_know_the_stop_strings_of_the_constructor(chat, tiny_tokenizer) -> None:
    whole = chat.invoke("안녕").content
    cache = InMemoryCache()
    options = {"tokenizer": tiny_tokenizer, "max_tokens": 40, "cache": cache, "loaded": chat.loaded}
    assert ChatKoGemma(chat.model, **options).invoke("안녕").content == whole
    stopped = ChatKoGemma(chat.model, stop=[whole[3]], **options)
    assert stopped.invoke("안녕").content == whole[: whole.index(whole[3])]
    assert stopped.invoke("안녕", stop=[]).content == whole


def test_a_changed_model_runs_what_it_says(tiny_directory, tmp_path) -> None:
    """After use, too: nothing of the former model stays behind in copies, or after assignment."""
    other = str(tiny_gemma.save(tmp_path / "other"))
    chat = ChatKoGemma(tiny_directory, max_tokens=3)
    chat.invoke("안녕")
    copied = chat.model_copy(update={"model": other, "attention": "eager"})
    assert copied.invoke("안녕").response_metadata["model_name"] == other
    assert copied._local.running.attention == "eager"
    assert chat.model_copy(update={"bos": "double"}).invoke("안녕").usage_metadata[
        "input_tokens"
    ] == 1 + chat.get_num_tokens_from_messages([HumanMessage("안녕")])
    chat.model = other
    assert chat.invoke("안녕").response_metadata["model_name"] == other


def test_models_are_copied_and_pickled_without_what_they_loaded(tiny_directory) -> None:
    import copy
    import pickle

    chat = ChatKoGemma(tiny_directory, max_tokens=3)
    reply = chat.invoke("안녕").content
    deep = copy.deepcopy(chat)
    assert deep._local.engine is chat._local.engine
    assert deep == chat
    assert pickle.loads(pickle.dumps(chat)).invoke("안녕").content == reply  # noqa: S301


def test_configured_models_load_nothing_again(tmp_path, monkeypatch) -> None:
    from kogemma_rag import weights

    loads = []
    real = weights.load_weights
    monkeypatch.setattr(
        weights, "load_weights", lambda name, **options: loads.append(name) or real(name, **options)
    )
    folder = tiny_gemma.save(tmp_path / "own")
    configurable = ChatKoGemma(folder, max_tokens=2).configurable_fields(
        temperature=ConfigurableField(id="t")
    )
    for temperature in (0.0, 0.5, 1.0):
        configurable.with_config(configurable={"t": temperature}).invoke("안녕")
    assert len(loads) == 1


def test_a_key_is_in_no_error(chat) -> None:
    for wrong in (
        lambda: ChatKoGemma("m", base_url="http://h/v1", api_key="sk-SECRET", device="cpu"),
        lambda: ChatKoGemma(chat.model, api_key="sk-SECRET"),
        lambda: ChatKoGemma("m", base_url="http://user:sk-SECRET@h/v1"),
        lambda: ChatKoGemma("m", base_url="http://h/v1?key=sk-SECRET"),
    ):
        with pytest.raises(ValidationError) as raised:
            wrong()
        assert "leave" in str(raised.value) or "needs tokenizer" in str(raised.value)
        assert "sk-SECRET" not in str(raised.value)
    with pytest.raises(ValidationError, match="no address of a server"):
        ChatKoGemma("m", base_url="localhost:8000")


async def test_cancelling_a_task_halts_generation(chat, say) -> None:
    script = say(500, pause=0.005)
    task = asyncio.create_task(chat.ainvoke("q", max_tokens=8000))
    while not script.forwards:
        await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    at_end = script.forwards
    await asyncio.sleep(0.1)
    assert script.forwards <= at_end + 1
    assert chat.info()["running"] == 0


async def test_cancelling_before_it_began(chat, say) -> None:
    script = say(500, pause=0.005)
    tasks = [asyncio.create_task(chat.ainvoke("q", max_tokens=8000)) for _ in range(3)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0.2)
    assert script.forwards < 20
    assert chat.info()["running"] == chat.info()["waiting"] == 0


# --- Loading ---


def test_importing_and_constructing_load_no_torch() -> None:
    code = (
        "import sys; from kogemma_rag import ChatKoGemma; ChatKoGemma();"
        "print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_weights_are_loaded_once_for_all_objects_and_threads(tiny_directory, monkeypatch) -> None:
    from transformers import AutoModelForCausalLM

    real, loads = AutoModelForCausalLM.from_pretrained, []

    def count(*args, **kwargs):
        loads.append(kwargs)
        return real(*args, **kwargs)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", count)
    chats = [ChatKoGemma(tiny_directory, max_tokens=n, dtype="bfloat16") for n in (3, 4)]
    replies: list = []
    threads = [
        threading.Thread(target=lambda c=chat: replies.append(c.invoke("안녕")))
        for chat in chats * 4
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(replies) == 8
    assert len(loads) == 1
    assert loads[0]["use_safetensors"] is True
    assert chats[0]._local.engine is chats[1]._local.engine
    eager = ChatKoGemma(tiny_directory, max_tokens=3, dtype="bfloat16", attention="eager")
    assert eager.invoke("안녕").content == chats[0].invoke("안녕").content
    assert len(loads) == 1  # another engine over the same weights
    assert chats[0].info()["dtype"] == "bfloat16"


def test_both_kinds_of_tokenizer_from_a_directory(tmp_path, tiny_directory) -> None:
    plain = tiny_gemma.save(tmp_path / "plain", special_turns=False)
    replies = {ChatKoGemma(folder).invoke("안녕").content for folder in (plain, tiny_directory)}
    assert len(replies) == 1


def test_the_tokenizer_of_the_caller_is_not_changed(chat, tiny_tokenizer) -> None:
    chat.invoke("안녕")
    assert tiny_tokenizer.chat_control_tokens is None


@pytest.mark.parametrize("name", ["./no/such/folder", "/no/such/folder", "~/models/x", "a/b/c"])
def test_a_path_without_a_directory_is_refused_at_once(name) -> None:
    with pytest.raises(FileNotFoundError, match=f"no model directory '{name}'"):
        ChatKoGemma(name)


def test_a_directory_without_a_model(tmp_path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gemma"}))
    with pytest.raises(ModelNotFoundError, match=r"cannot load.*\.safetensors"):
        ChatKoGemma(tmp_path).invoke("안녕")


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """An empty cache, and a hub that answers every question with an error of one's choice."""
    import huggingface_hub

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))

    def answer(error):
        def auth_check(self, name, **kwargs):
            raise error

        monkeypatch.setattr(huggingface_hub.HfApi, "auth_check", auth_check)

    return answer


def http_error(kind, status):
    import httpx

    request = httpx.Request("GET", "https://hub.test/")
    return kind("refused", response=httpx.Response(status, request=request))


def test_a_hub_that_does_not_answer(hub) -> None:
    import httpx

    hub(httpx.ConnectError("Name or service not known"))
    with pytest.raises(
        ModelConnectionError, match=r"nlpai-lab/ko-gemma-2b-v1.*Name or service.*hf download"
    ):
        ChatKoGemma().invoke("안녕")


def test_a_hub_in_offline_mode(hub) -> None:
    from huggingface_hub.errors import OfflineModeIsEnabled

    hub(OfflineModeIsEnabled("offline"))
    with pytest.raises(ModelConnectionError, match="offline"):
        ChatKoGemma().get_num_tokens("안녕")


def test_a_gated_model(hub) -> None:
    from huggingface_hub.errors import GatedRepoError

    hub(http_error(GatedRepoError, 403))
    with pytest.raises(ModelPermissionDeniedError, match=r"gemma-2b-it' is gated.*hf auth login"):
        ChatKoGemma("google/gemma-2b-it").invoke("안녕")


def test_a_model_that_nobody_has(hub) -> None:
    from huggingface_hub.errors import RepositoryNotFoundError

    hub(http_error(RepositoryNotFoundError, 404))
    with pytest.raises(ModelNotFoundError, match=r"no directory 'someone/nothing'.*spelling"):
        ChatKoGemma("someone/nothing").invoke("안녕")


def test_a_model_in_the_cache_needs_no_hub(hub, tmp_path, tiny_directory) -> None:
    hub(AssertionError("the hub was asked"))
    repository = tmp_path / "hub" / "models--nlpai-lab--ko-gemma-2b-v1"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    (repository / "snapshots").mkdir()
    (repository / "snapshots" / ("0" * 40)).symlink_to(tiny_directory)
    reply = ChatKoGemma(max_tokens=40).invoke("안녕")
    assert reply.content == ChatKoGemma(tiny_directory, max_tokens=40).invoke("안녕").content
    assert reply.response_metadata["model_name"] == "nlpai-lab/ko-gemma-2b-v1"


def test_a_cache_or_hub_that_lacks_the_tokenizer(hub, tmp_path, monkeypatch) -> None:
    import huggingface_hub

    asked = []
    monkeypatch.setattr(huggingface_hub.HfApi, "auth_check", lambda self, name: asked.append(name))
    snapshot = tmp_path / "hub" / "models--google--gemma-2b-it" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text(json.dumps({"model_type": "gemma"}))
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("0" * 40)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelNotFoundError, match=r"gemma-2b-it' from the hub.*no tokenizer"):
        ChatKoGemma("google/gemma-2b-it").get_num_tokens("안녕")
    assert asked == ["google/gemma-2b-it"]


def test_the_access_token_goes_to_the_hub(hub, monkeypatch) -> None:
    import huggingface_hub

    seen = []

    def from_pretrained(name, *, local_files_only=False, token=None):
        seen.append((local_files_only, token))
        raise OSError("away")

    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", from_pretrained)
    monkeypatch.setattr(
        huggingface_hub.HfApi, "auth_check", lambda api, name: seen.append(api.token)
    )
    with pytest.raises(ModelNotFoundError, match="away"):
        ChatKoGemma(api_key="hf_secret").get_num_tokens("안녕")
    assert seen == [(True, None), "hf_secret", (False, "hf_secret")]


def test_load_chat_model(tiny_directory) -> None:
    from kogemma_rag.extractive import ExtractiveChatModel

    assert isinstance(load_chat_model("extractive"), ExtractiveChatModel)
    chat = load_chat_model(str(tiny_directory), max_tokens=3)
    assert isinstance(chat, ChatKoGemma)
    assert chat.invoke("안녕").usage_metadata["output_tokens"] <= 3
    assert load_chat_model("google/gemma-7b-it").model == "google/gemma-7b-it"


# --- Where it runs ---


def test_info_and_warmup(tiny_directory, tiny_model) -> None:
    chat = ChatKoGemma(tiny_directory, cache_gib=0.01)
    chat.warmup()
    info = chat.info()
    weights = sum(p.numel() * p.element_size() for p in tiny_model.parameters())
    assert info["model"] == str(tiny_directory)
    assert (info["devices"], info["dtype"]) == (("cpu",), "float32")
    assert info["quantization"] is None
    assert weights <= info["weight_bytes"] < 1.01 * weights
    # What the warm-up has taken of 0.01 GiB: 256 bytes a position.
    assert info["cache_bytes"] == info["slots"] * (info["positions"] + 1) * 256
    assert info["cache_bytes"] <= info["cache_limit_bytes"] == int(0.01 * 2**30)
    assert info["slots"] == int(0.01 * 2**30) // (2049 * 256)
    assert (info["running"], info["waiting"], info["window"]) == (0, 0, 8192)


@pytest.mark.parametrize(
    "options",
    [
        {"device": "cpu"},
        {"device_map": "auto"},
        {"attention": "eager"},
        {"dtype": "float32", "cache_gib": 0.001},
    ],
)
def test_where_and_how_it_runs_does_not_change_the_reply(tiny_directory, options) -> None:
    expected = ChatKoGemma(tiny_directory, max_tokens=30).invoke("안녕").content
    assert ChatKoGemma(tiny_directory, max_tokens=30, **options).invoke("안녕").content == expected


def test_int8_weights(tiny_directory) -> None:
    chat = ChatKoGemma(tiny_directory, quantization="int8", max_tokens=30)
    assert chat.info()["quantization"] == "int8"
    exact = ChatKoGemma(tiny_directory, max_tokens=30)
    assert chat.info()["weight_bytes"] < exact.info()["weight_bytes"]
    assert chat.invoke("안녕").content[:1] == exact.invoke("안녕").content[:1]
    replies = [chat.invoke(question).content for question in KOREAN_PROMPTS[:6]]
    assert [reply.content for reply in chat.batch(KOREAN_PROMPTS[:6])] == replies
    with pytest.raises(ValueError, match="int4"):
        ChatKoGemma(tiny_directory, quantization="int4").invoke("안녕")


def test_another_model_for_one_call(tiny_directory, tmp_path, tiny_tokenizer) -> None:
    """The two share options but nothing else."""
    other = tiny_gemma.save(tmp_path / "other")
    chat = ChatKoGemma(tiny_directory, max_tokens=5)
    reply = chat.invoke("안녕", model=str(other))
    assert reply.response_metadata["model_name"] == str(other)
    assert reply.usage_metadata["output_tokens"] <= 5
    assert chat.invoke("안녕").response_metadata["model_name"] == str(tiny_directory)


def test_histories_survive_a_round_trip_through_a_database(chat, tmp_path) -> None:
    """As LangChain's own SQL history writes messages: as JSON, one a row."""
    import sqlite3

    from langchain_core.messages import message_to_dict, messages_from_dict

    first = chat.invoke("안녕")
    with sqlite3.connect(tmp_path / "history.db") as database:
        database.execute("CREATE TABLE messages (body TEXT)")
        for message in (HumanMessage("안녕"), first, HumanMessage("또?")):
            body = json.dumps(message_to_dict(message), ensure_ascii=False)
            database.execute("INSERT INTO messages VALUES (?)", (body,))
        rows = [json.loads(body) for (body,) in database.execute("SELECT body FROM messages")]
    read = messages_from_dict(rows)
    assert read[1] == first
    assert (
        chat.invoke(read).content
        == chat.invoke([HumanMessage("안녕"), first, HumanMessage("또?")]).content
    )
