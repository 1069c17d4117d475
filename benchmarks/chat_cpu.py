"""ChatKoGemma against ChatHuggingFace on the CPU, side by side in one run.

python benchmarks/chat_cpu.py [--shape 100m] [--rounds 3]

Random weights; 8 RAG prompts of about 500 tokens that share 300, 64 new tokens each, one core.
"""

import argparse
import copy
import os
import statistics
import time
from collections.abc import Callable

import random_gemma
import torch
from langchain_huggingface import ChatHuggingFace, HuggingFacePipeline
from transformers import pipeline
from transformers.utils import logging

from kogemma_rag import ChatKoGemma
from kogemma_rag.generation import GenerationRequest
from kogemma_rag.model_runner import Slot
from kogemma_rag.weights import quantize_to_int8

NEW_TOKENS = 64


def peer(model: torch.nn.Module, tokenizer: object) -> ChatHuggingFace:
    """Give what users have today, over the same weights."""
    generate = pipeline(
        "text-generation",
        model=model,
        tokenizer=tokenizer,
        max_new_tokens=NEW_TOKENS,
        min_new_tokens=NEW_TOKENS,
        do_sample=False,
        return_full_text=False,
    )
    return ChatHuggingFace(llm=HuggingFacePipeline(pipeline=generate), tokenizer=tokenizer)


def timed(call: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def throughput(chats: dict[str, object], rounds: int, prompts: int) -> None:
    """Tokens a second of a batch, every chat in every round, on prompts none has seen."""
    seconds: dict[str, list[float]] = {name: [] for name in chats}
    for number in range(rounds):
        for name, chat in chats.items():
            asked = random_gemma.rag_prompts(prompts, seed=number)
            if number:
                seconds[name].append(timed(lambda chat=chat, asked=asked: chat.batch(asked)))
            else:  # the first round warms up
                chat.batch(asked[:1])
    tokens = prompts * NEW_TOKENS
    base = statistics.median(seconds["ChatHuggingFace"])
    for name, each in seconds.items():
        median = statistics.median(each)
        print(f"{name:28} {tokens / median:8.1f} tokens/s   x {base / median:.2f}")


def first_token(chat: ChatKoGemma, rounds: int) -> None:
    """Seconds to the first piece of a streamed reply, prefix unknown and known."""
    cold, warm = [], []
    for number in range(rounds):
        one, other = random_gemma.rag_prompts(2, seed=1000 + number)
        for seconds, prompt in ((cold, one), (warm, other)):
            seconds.append(timed(lambda prompt=prompt: next(iter(chat.stream(prompt)))))
    cold_s, warm_s = statistics.median(cold), statistics.median(warm)
    print(f"first token: cold {cold_s:.3f} s, warm {warm_s:.3f} s, ratio {warm_s / cold_s:.2f}")


def overhead(chat: ChatKoGemma, rounds: int = 12, tokens: int = 1000) -> None:
    """What messages, template, text and LangChain add to the bare engine.

    The model is replaced by one that takes half a millisecond a token and no processor, as one on
    a GPU does.
    """
    engine, template = chat._local.engine, chat._local.template
    logits = torch.randn(1, engine.vocabulary_size)

    def decode(slots: list[Slot], last: list[int]) -> torch.Tensor:
        for slot, token in zip(slots, last, strict=True):
            engine.runner._advance(slot, [token])
        time.sleep(0.0005)
        return logits.roll(last[0] % 7, 1)

    engine.runner.decode = decode
    for count, calls in ((1, 10 * rounds), (tokens, rounds)):
        totals: dict[str, list[float]] = {"engine": [], "invoke": [], "stream": []}
        for number in range(calls):
            prompt = f"{number}번째 질문입니다"
            turns = [{"role": "user", "content": prompt}]
            ask = {"input": prompt, "max_tokens": count}
            request = GenerationRequest(template.encode(turns), count, frozenset())
            totals["engine"].append(timed(lambda request=request: list(engine.stream(request))))
            totals["invoke"].append(timed(lambda ask=ask: chat.invoke(**ask)))
            totals["stream"].append(timed(lambda ask=ask: list(chat.stream(**ask))))
        medians = {name: statistics.median(each) * 1000 for name, each in totals.items()}
        if count == 1:
            print(f"overhead: {medians['invoke'] - medians['engine']:.2f} ms a request")
        else:
            added = (medians["stream"] - medians["engine"]) / tokens
            print(f"overhead: {added:.4f} ms a streamed token")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", default="100m", choices=random_gemma.SHAPES)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--prompts", type=int, default=8)
    options = parser.parse_args()
    # LangChain's batch would run the peer on as many cores as there are: one for both.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    tokenizer = random_gemma.tokenizer()
    model = random_gemma.build(options.shape)
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    print(f"{options.shape}: {millions:.0f}M parameters, one core, float32 unless named")
    ours = ChatKoGemma(model, tokenizer=tokenizer, max_tokens=NEW_TOKENS)
    small = copy.deepcopy(model)
    quantize_to_int8(small)
    chats = {
        "ChatHuggingFace": peer(model, tokenizer),
        "ChatKoGemma": ours,
        "ChatKoGemma, int8": ChatKoGemma(small, tokenizer=tokenizer, max_tokens=NEW_TOKENS),
    }
    throughput(chats, options.rounds, options.prompts)
    first_token(ours, options.rounds)
    toy = ChatKoGemma(random_gemma.build("toy"), tokenizer=tokenizer)
    overhead(toy)


if __name__ == "__main__":
    main()
