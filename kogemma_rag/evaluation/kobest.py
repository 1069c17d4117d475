"""A model in, its figures on KoBEST out, by lm-evaluation-harness, beside the published table."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kogemma_rag.evaluation import kobest_published
from kogemma_rag.evaluation.kobest_data import TASKS, KoBESTTask, check_tasks
from kogemma_rag.evaluation.kobest_metrics import averages, task_result
from kogemma_rag.evaluation.kobest_tasks import (
    FEWSHOT_SEED,
    describe_data,
    example,
    harness_output,
    load_tasks,
)
from kogemma_rag.evaluation.runs import machine, versions

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from kogemma_rag.evaluation.kobest_model import OneBosModel
    from kogemma_rag.evaluation.runs import RunFolder
    from kogemma_rag.weights import DType

_FINISHED = "tasks"  # of which a folder of a run keeps what came out
_COUNTED = ("count", "one_bos", "tokens")
_PACKAGES = ("lm-eval", "transformers", "tokenizers", "torch", "datasets", "numpy")


def evaluate_kobest(
    model: "str | PreTrainedModel",
    *,
    tokenizer: "PreTrainedTokenizerBase | None" = None,
    data_dir: Path | None = None,
    tasks: Sequence[str] = TASKS,
    num_fewshot: int = 5,
    chat_template: Literal["auto", "on", "off"] = "auto",
    multiturn: bool = True,
    limit: int | None = None,
    batch_size: int | Literal["auto"] = "auto",
    device: str | None = None,
    dtype: "DType" = "auto",
    folder: "RunFolder | None" = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Score a model on the test splits of KoBEST by the likelihood of each choice.

    Prompts and few-shot examples are the harness's; every request has exactly one <bos>.

    Args:
        model: Hub name or directory; or a causal model that is loaded, with its `tokenizer`.
        tokenizer: Of a loaded model.
        data_dir: Folder of the release's TSV files, so that nothing asks the network for data;
            None takes the data from the hub.
        tasks: Some of boolq, copa, hellaswag, sentineg, wic.
        num_fewshot: Answered examples of the train split before each question.
        chat_template: Whether prompts go through the model's chat template; "auto": if it has one.
        multiturn: Through a chat template, few-shot examples are turns of their own, not one text.
        limit: Only the first so many examples of each task; None takes all.
        batch_size: Requests computed together; "auto" finds what a GPU holds.
        device: A torch device; None takes a GPU where there is one. Not for a loaded model.
        dtype: What is computed in; "auto" is bfloat16 on a GPU, else float32. Not for a loaded
            model.
        folder: Tasks that are finished in it are not computed again.
        progress: Show bars on stderr. Meanwhile whatever the process prints goes to stderr, and
            with False nowhere: the harness prints as it likes, in many places.

    Returns:
        JSON-ready:

        kind        "kobest"; method "loglikelihood" or "generation"
        model       its name
        settings    the options; chat_template {asked, applied, multiturn}, device and dtype in use
        data        source ("files" or the hub's name), fingerprint (SHA-256 of the files, or None),
                    splits: task -> {train, validation, test} -> rows
        versions    name -> version; machine: {processor, cores, gpu}
        requests    count, one_bos (how many had exactly one <bos>: all), tokens (of all), longest
                    and window (in tokens); None where it generates
        tasks       task -> {examples, version, metrics, unparsed}: metrics acc, f1 (macro) and for
                    HellaSwag acc_norm -> {value, stderr}, from 0 to 1; version is the harness's;
                    unparsed {count, share} of replies that name no one choice
        averages    f1 (of five tasks), f1_without_sentineg_wic -> {value, stderr}; those of which
                    all tasks were asked
        published   num_fewshot, rows as `published_rows` has them, comparison as `compare` has it
                    (empty where it would not be fair; a note says why)
        questions   each {id, task, question, choices, gold, chosen, correct, loglikelihoods}: the
                    harness's text without few-shot examples; numbers of choices from 0, chosen is
                    None where a reply was not understood; HellaSwag has chosen_normalized (of
                    acc_norm); where it generates, reply instead of loglikelihoods
        notes       Korean sentences that a reader must know
        seconds     loading, evaluating

    Raises:
        ValueError: If an argument is out of its range.
        EvaluationDataError: If the files are not those of the release.
        KoBESTModelError: If the model has no chat template and shall use it, no <bos>, or cannot
            read the longest request whole.
        ImportError: If the harness is not installed.
    """
    names = check_tasks(tasks)
    check_numbers(num_fewshot=num_fewshot, limit=limit)
    started = time.perf_counter()
    with harness_output(progress=progress):
        # Before the model, since wrong data is told at once.
        harness_tasks = load_tasks(names, data_dir=data_dir, num_fewshot=num_fewshot)
        wrapped = _wrap(model, tokenizer, batch_size, device, dtype)
        applied = wrapped.uses_template(chat_template)
        loaded = time.perf_counter()
        ask = partial(_ask, wrapped, limit=limit, applied=applied, multiturn=multiturn)
        done = _done(ask, harness_tasks, folder)
    questions = [question for name in names for question in done[name]["questions"]]
    settings = {
        **describe_settings(names, num_fewshot, limit),
        "chat_template": {
            "asked": chat_template,
            "applied": applied,
            "multiturn": applied and multiturn,
        },
        "batch_size": wrapped.batch_size,
        "device": str(wrapped.device),
        "dtype": str(wrapped.model.dtype).removeprefix("torch."),
    }
    return {
        **describe_result("loglikelihood", wrapped.name, settings, questions, harness_tasks),
        "data": describe_data(harness_tasks, data_dir=data_dir),
        "requests": {
            **{key: sum(done[name][key] for name in names) for key in _COUNTED},
            "longest": max(done[name]["longest"] for name in names),
            "window": wrapped.max_length,
        },
        "seconds": {"loading": loaded - started, "evaluating": time.perf_counter() - loaded},
    }


def check_numbers(*, num_fewshot: int, limit: int | None) -> None:
    """Refuse numbers that cannot be meant.

    Raises:
        ValueError: If so.
    """
    if num_fewshot < 0:
        raise ValueError(f"num_fewshot={num_fewshot}; give 0 or more")
    if limit is not None and limit < 1:
        raise ValueError(f"limit={limit}; give 1 or more, or None for all examples")


def describe_settings(
    tasks: Sequence[KoBESTTask], num_fewshot: int, limit: int | None
) -> dict[str, Any]:
    """The settings that both ways of scoring have."""
    return {
        "tasks": list(tasks),
        "num_fewshot": num_fewshot,
        "fewshot_seed": FEWSHOT_SEED,
        "limit": limit,
    }


def describe_result(
    method: Literal["loglikelihood", "generation"],
    model: str,
    settings: Mapping[str, Any],
    questions: list[dict[str, Any]],
    harness_tasks: Mapping[KoBESTTask, Any],
) -> dict[str, Any]:
    """What `evaluate_kobest` describes, but for data, requests and seconds."""
    figures: dict[str, Any] = {
        name: task_result(
            [each for each in questions if each["task"] == name], version=str(task.VERSION)
        )
        for name, task in harness_tasks.items()
    }
    means = averages({name: figures[name]["metrics"]["f1"] for name in figures})
    fair = method == "loglikelihood" and settings["num_fewshot"] == kobest_published.NUM_FEWSHOT
    return {
        "kind": "kobest",
        "method": method,
        "model": model,
        "settings": dict(settings),
        "versions": versions(*_PACKAGES),
        "machine": machine(),
        "tasks": figures,
        "averages": means,
        "published": {
            "num_fewshot": kobest_published.NUM_FEWSHOT,
            "rows": kobest_published.published_rows(),
            "comparison": kobest_published.compare(figures, means) if fair else [],
        },
        "questions": questions,
        "notes": _notes(method, settings),
    }


def _notes(method: str, settings: Mapping[str, Any]) -> list[str]:
    notes = list(kobest_published.NOTES)
    if method == "generation":
        notes.append(
            "선택지의 확률이 아니라 모델이 지은 답으로 채점했으므로 공개된 표와 비교하지 않습니다."
        )
    elif settings["num_fewshot"] != kobest_published.NUM_FEWSHOT:
        notes.append(
            f"공개된 표는 예시 {kobest_published.NUM_FEWSHOT}개로 쟀으므로 예시 "
            f"{settings['num_fewshot']}개로 잰 이 결과와 비교하지 않습니다."
        )
    if settings["limit"] is not None:
        notes.append(f"과제마다 처음 {settings['limit']}문항까지만 쟀습니다.")
    return notes


def _wrap(
    model: "str | PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase | None",
    batch_size: int | Literal["auto"],
    device: str | None,
    dtype: "DType",
) -> "OneBosModel":
    from kogemma_rag.evaluation.kobest_model import OneBosModel, load_model

    if isinstance(model, str):
        if tokenizer is not None:
            raise ValueError(f"tokenizer= goes with a loaded model, not with {model!r}")
        weights, own = load_model(model, device=device, dtype=dtype)
        return OneBosModel(weights, own, name=model, batch_size=batch_size)
    if tokenizer is None or device is not None or dtype != "auto":
        raise ValueError("a loaded model needs tokenizer=, and takes no device= or dtype=")
    name = model.name_or_path or type(model).__name__
    return OneBosModel(model, tokenizer, name=name, batch_size=batch_size)


def _done(
    ask: Callable[[KoBESTTask, Any], dict[str, Any]],
    harness_tasks: Mapping[KoBESTTask, Any],
    folder: "RunFolder | None",
) -> dict[str, dict[str, Any]]:
    """What `_ask` tells of each task; those that are finished in the folder are not asked again."""
    done = {} if folder is None else folder.finished(_FINISHED)
    for name, task in harness_tasks.items():
        if name not in done:
            done[name] = ask(name, task)
            if folder is not None:
                folder.record(_FINISHED, name, done[name])
    return done


def _ask(
    model: "OneBosModel",
    name: KoBESTTask,
    task: Any,
    *,
    limit: int | None,
    applied: bool,
    multiturn: bool,
) -> dict[str, Any]:
    """The questions of a task with what the model took, and the sizes of its requests."""
    from lm_eval.evaluator import evaluate

    model.forget_requests()
    output: Any = evaluate(
        lm=model,
        task_dict={"tasks": {f"kobest_{name}": task}},
        limit=limit,
        bootstrap_iters=0,
        apply_chat_template=applied,
        fewshot_as_multiturn=applied and multiturn,
    )
    samples = output["samples"][f"kobest_{name}"]
    return {
        "questions": [_outcome(name, task, sample) for sample in samples],
        "count": model.requests,
        "one_bos": model.bos_counts[1],
        "tokens": model.tokens,
        "longest": model.longest,
    }


def _outcome(name: KoBESTTask, task: Any, sample: Mapping[str, Any]) -> dict[str, Any]:
    question = example(name, task, sample["doc_id"], sample["doc"])
    scores = [float(score) for score, _ in sample["filtered_resps"]]
    _, chosen = sample["f1"]
    outcome = {**question, "chosen": int(chosen), "correct": bool(sample["acc"])}
    if "acc_norm" in sample:
        # As the harness: likelihood a character, the first of the best.
        lengths = map(len, question["choices"])
        normalized = [score / length for score, length in zip(scores, lengths, strict=True)]
        outcome["chosen_normalized"] = normalized.index(max(normalized))
    return {**outcome, "loglikelihoods": scores}
