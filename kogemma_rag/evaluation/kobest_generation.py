"""A LangChain chat model in, its figures on KoBEST out, by what it replies.

For models whose likelihoods cannot be had. Not comparable with the published table.
"""

import re
import time
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kogemma_rag.evaluation.kobest import check_numbers, describe_result, describe_settings
from kogemma_rag.evaluation.kobest_data import TASKS, KoBESTTask, check_tasks
from kogemma_rag.evaluation.kobest_tasks import (
    describe_data,
    example,
    harness_output,
    load_tasks,
)

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage

    from kogemma_rag.evaluation.runs import RunFolder

    _Prompt = tuple[dict[str, Any], list[BaseMessage]]

_PROMPT = (
    "{question}\n\n보기:\n{choices}\n\n보기 하나를 골라 그대로 적으세요. 다른 말은 쓰지 마세요."
)
# "2", "2.", "(2)", "2번" before anything else.
_NUMBER = re.compile(r"\(?(\d+)(?:번|[.):]|$)")
_ENDING = " .!?\"'“”‘’"


def evaluate_kobest_by_generation(
    chat_model: "BaseChatModel",
    *,
    name: str | None = None,
    data_dir: Path | None = None,
    tasks: Sequence[str] = TASKS,
    num_fewshot: int = 5,
    limit: int | None = None,
    folder: "RunFolder | None" = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Score a chat model on the test splits of KoBEST by the choice that its reply names.

    A prompt is the harness's text with its choices listed, after few-shot examples that are turns
    of their own. A reply that names no choice, or several, is wrong and counts as unparsed.

    Args:
        chat_model: Any; it should be set to reply shortly and always the same.
        name: What the result calls it; None: what it calls itself.
        data_dir: As `evaluate_kobest`, like all below.
        tasks: Which.
        num_fewshot: Answered examples before each question.
        limit: Only the first so many examples of each task.
        folder: Questions that are finished in it are not asked again.
        progress: Show a bar on stderr.

    Returns:
        What `evaluate_kobest` describes.

    Raises:
        ValueError, EvaluationDataError, ImportError: As `evaluate_kobest`.
    """
    names = check_tasks(tasks)
    check_numbers(num_fewshot=num_fewshot, limit=limit)
    started = time.perf_counter()
    with harness_output(progress=progress):
        harness_tasks = load_tasks(names, data_dir=data_dir, num_fewshot=num_fewshot)
        prompts = {
            task_name: _prompts(task_name, task, num_fewshot, limit)
            for task_name, task in harness_tasks.items()
        }
    loaded = time.perf_counter()
    questions = [
        outcome
        for task_name in names
        for outcome in _ask(chat_model, task_name, prompts[task_name], folder, progress)
    ]
    settings = describe_settings(names, num_fewshot, limit)
    model = name or str(getattr(chat_model, "model_name", "") or chat_model._llm_type)
    return {
        **describe_result("generation", model, settings, questions, harness_tasks),
        "data": describe_data(harness_tasks, data_dir=data_dir),
        "requests": None,
        "seconds": {"loading": loaded - started, "evaluating": time.perf_counter() - loaded},
    }


def choice_prompt(question: str, choices: Sequence[str]) -> str:
    """What a chat model is asked: the question and its choices, numbered from 1."""
    listed = "\n".join(f"{number}. {choice}" for number, choice in enumerate(choices, start=1))
    return _PROMPT.format(question=question.strip(), choices=listed)


def find_choice(reply: str, choices: Sequence[str]) -> int | None:
    """The one choice that a reply names, by its text or its number; None: none, or several.

    Line ends, runs of white space, Unicode's forms and what ends a sentence make no difference. A
    choice counts where it begins a word, whatever is joined to it: "예" is in "예입니다", not in
    "거예요". One that is part of another counts only where it stands alone.
    """
    text = _plain(reply)
    plain = [_plain(choice) for choice in choices]
    longest_first = sorted(plain, key=len, reverse=True)
    pattern = r"(?<!\w)(?:" + "|".join(map(re.escape, longest_first)) + ")"
    named = {plain.index(found) for found in re.findall(pattern, text)}
    number = _NUMBER.match(text)
    if number and 1 <= int(number[1]) <= len(choices):
        named.add(int(number[1]) - 1)
    return named.pop() if len(named) == 1 else None


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split()).strip(_ENDING)


def _prompts(name: KoBESTTask, task: Any, num_fewshot: int, limit: int | None) -> "list[_Prompt]":
    """Questions as a result has them, each with what the model is asked."""
    questions = [example(name, task, number, row) for number, row in task.doc_iterator(limit=limit)]
    return [
        (question, [*_examples(name, task, num_fewshot), *_turns(question)[:1]])
        for question in questions
    ]


def _ask(
    chat_model: "BaseChatModel",
    name: KoBESTTask,
    prompts: "list[_Prompt]",
    folder: "RunFolder | None",
    progress: bool,
) -> list[dict[str, Any]]:
    from tqdm import tqdm

    done = {} if folder is None else folder.finished(name)
    left = [(question, asked) for question, asked in prompts if question["id"] not in done]
    replies = chat_model.batch_as_completed([asked for _, asked in left])
    for at, reply in tqdm(replies, total=len(left), desc=name, disable=not progress):
        outcome = _outcome(left[at][0], reply.text)
        done[outcome["id"]] = outcome
        if folder is not None:
            folder.record(name, outcome["id"], outcome)
    return [done[question["id"]] for question, _ in prompts]


def _examples(name: KoBESTTask, task: Any, count: int) -> "list[BaseMessage]":
    """Answered questions of the train split, drawn as the harness draws them."""
    drawn = task.sampler.sample(count) if count else []
    return [message for row in drawn for message in _turns(example(name, task, 0, row))]


def _turns(question: dict[str, Any]) -> "list[BaseMessage]":
    from langchain_core.messages import AIMessage, HumanMessage

    choices = question["choices"]
    return [
        HumanMessage(choice_prompt(question["question"], choices)),
        AIMessage(choices[question["gold"]]),
    ]


def _outcome(question: dict[str, Any], reply: str) -> dict[str, Any]:
    chosen = find_choice(reply, question["choices"])
    return {**question, "chosen": chosen, "correct": chosen == question["gold"], "reply": reply}
