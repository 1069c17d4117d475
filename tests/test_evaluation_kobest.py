"""KoBEST: the release's files, the harness's prompts, one <bos>, figures, the published table."""

import copy
import dataclasses
import itertools
import json
import math
import random
import shutil
import socket
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kobest_prompts
import kobest_release
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from kogemma_rag.evaluation import kobest_published
from kogemma_rag.evaluation.errors import EvaluationDataError, KoBESTModelError
from kogemma_rag.evaluation.kobest import evaluate_kobest
from kogemma_rag.evaluation.kobest_data import TASKS, check_tasks, fingerprint, read_task
from kogemma_rag.evaluation.kobest_generation import (
    choice_prompt,
    evaluate_kobest_by_generation,
    find_choice,
)
from kogemma_rag.evaluation.kobest_metrics import accuracy, averages, macro_f1
from kogemma_rag.evaluation.runs import RunFolder

BOS = 2
SHARED = Path(__file__).parents[1].parent / "shared" / "data" / "kobest"
CHOICES = {"boolq": 2, "copa": 2, "hellaswag": 4, "sentineg": 2, "wic": 2}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kobest_release.write(tmp_path_factory.mktemp("kobest"))


@pytest.fixture
def changed(release: Path, tmp_path: Path) -> Path:
    """A copy of the release that a test may spoil."""
    return shutil.copytree(release, tmp_path / "kobest")


# The release's files


def test_rows_are_the_hubs(release: Path) -> None:
    rows = {task: read_task(release, task) for task in TASKS}
    assert rows["boolq"]["train"][:3] == [
        {"paragraph": "글 train1.", "question": "train1인가?", "label": 1},
        {"paragraph": "글 train2.", "question": "train2인가?", "label": 0},
        {"paragraph": "글 train3.", "question": "train3인가?", "label": 1},
    ]
    assert rows["copa"]["validation"][1] == {
        "premise": "일 dev2.",
        "question": "원인",
        "alternative_1": "하나 dev2",
        "alternative_2": "둘 dev2",
        "label": 0,
    }
    assert rows["hellaswag"]["test"][6] == {
        "context": "앞 test7.",
        "ending_1": "가 test7",
        "ending_2": "가가 test7",
        "ending_3": "가가가 test7",
        "ending_4": "가가가가 test7",
        "label": 3,
    }
    # Three orders of columns.
    assert rows["sentineg"]["train"][0] == {"sentence": "말 train1", "label": 1}
    assert rows["sentineg"]["validation"][0] == {"sentence": "말 dev1", "label": 1}
    assert rows["sentineg"]["test"][0] == {"sentence": "말 test1", "label": 1}
    assert rows["wic"]["test"][3] == {
        "word": "배4",
        "context_1": "[배] 4.",
        "context_2": "이 [배] 4.",
        "label": 0,
    }
    counts = {task: tuple(map(len, splits.values())) for task, splits in rows.items()}
    assert counts == {
        "boolq": (3665, 700, 1404),
        "copa": (3076, 500, 1000),
        "hellaswag": (2029, 500, 500),
        "sentineg": (3649, 400, 397),
        "wic": (3318, 610, 1260),
    }


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ('"말 ""강"" 말"', '말 "강" 말'),  # as spreadsheets write it
        ('"국제시장"은 영화', "국제시장은 영화"),  # as pandas read it for the hub
        ('문장 "안" 따옴표', '문장 "안" 따옴표'),
        (" 앞뒤 빈칸 ", " 앞뒤 빈칸 "),
        ("\u1112\u1161\u11ab NFD", "\u1112\u1161\u11ab NFD"),
    ],
)
def test_text_stays_what_the_hub_has(changed: Path, cell: str, text: str) -> None:
    kobest_release.replace_line(changed, "SentiNeg/test.tsv", 3, f"2\t0\t본디\t1\t{cell}\t1")
    assert read_task(changed, "sentineg")["test"][1] == {"sentence": text, "label": 1}


@pytest.mark.parametrize(
    ("file", "line", "text", "message"),
    [
        (
            "WiC/dev.tsv",
            1,
            "ID\tTarget\tSENTENCE1\tSENTENCE2\tANSWERS",
            r"1번째 줄: 열 ANSWER이",
        ),
        ("WiC/dev.tsv", 1, "", r"dev\.tsv: 1번째 줄: 비어 있습니다.*다시 받으세요"),
        ("BoolQ/test.tsv", 7, "6\t글\t질문?\ttrue", r"test\.tsv: 7번째 줄: .*'true'.*True, TRUE"),
        ("BoolQ/test.tsv", 7, "6\t글\t질문?\t", r"test\.tsv: 7번째 줄: 열 'Answer'에 ''"),
        ("BoolQ/test.tsv", 7, "6\t \t질문?\tTrue", r"7번째 줄: 열 'Text'이\(가\) 비어"),
        ("BoolQ/test.tsv", 7, "6\t글\tTrue", r"test\.tsv: 7번째 줄: 칸이 3개인데 .*4개"),
        ("BoolQ/test.tsv", 7, "6\t글\t글\t글\tTrue", r"7번째 줄: 칸이 5개인데 .*4개"),
        ("COPA/train.tsv", 2, "1\t글\t까닭\t하나\t둘\t1", r"2번째 줄: .*'까닭'.* 원인, 결과"),
        ("COPA/train.tsv", 2, "1\t글\t원인\t하나\t둘\t0", r"2번째 줄: .*'0'.* 1, 2 가운데"),
        ("HellaSwag/dev.tsv", 9, "글\t1\t2\t3\t4\t4", r"9번째 줄: .*'4'.* 0, 1, 2, 3 가운데"),
        ("SentiNeg/dev.tsv", 4, "3\t긍정\t말", r"4번째 줄: .*'긍정'.* 0, 1 가운데"),
        # An open quotation mark takes the lines after it with it.
        ("WiC/test.tsv", 5, '4\t배\t"[배]\t1\t-\t[배]\t1\t-\tTrue', r"test\.tsv: \d+번째 줄: "),
        ("WiC/test.tsv", 5, "4\t배\t" + "가" * 140_000, r"5번째 줄: TSV 형식이 아닙니다"),
    ],
)
def test_wrong_file_is_refused(
    changed: Path, file: str, line: int, text: str, message: str
) -> None:
    kobest_release.replace_line(changed, file, line, text)
    task = next(task for task in TASKS if file.lower().startswith(task))
    with pytest.raises(EvaluationDataError, match=message):
        read_task(changed, task)


def test_damaged_files_are_refused(changed: Path) -> None:
    path = changed / "COPA" / "dev.tsv"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    with pytest.raises(EvaluationDataError, match=r"dev\.tsv: 499행이 있는데 .*500행"):
        read_task(changed, "copa")
    path.write_bytes(b"ID\tsentence\r\n1\t" + "가".encode("cp949"))
    with pytest.raises(EvaluationDataError, match=r"dev\.tsv: 2번째 줄: UTF-8이 아닙니다"):
        read_task(changed, "copa")
    path.write_bytes(b"")
    with pytest.raises(EvaluationDataError, match=r"dev\.tsv: 1번째 줄: 비어"):
        read_task(changed, "copa")
    path.unlink()
    for read in (read_task, lambda folder, task: fingerprint(folder, [task])):
        with pytest.raises(EvaluationDataError, match=r"dev\.tsv: 파일이 없습니다.*배포판의 폴더"):
            read(changed, "copa")


def test_fingerprint_tells_other_data(changed: Path, release: Path) -> None:
    assert fingerprint(changed, ["wic", "copa"]) == fingerprint(release, ["copa", "wic"])
    kobest_release.replace_line(changed, "WiC/dev.tsv", 2, "1\t배\t배\t1\t-\t배\t1\t-\tTrue")
    assert fingerprint(changed, ["copa"]) == fingerprint(release, ["copa"])
    assert fingerprint(changed, ["copa", "wic"]) != fingerprint(release, ["copa", "wic"])


@pytest.mark.parametrize("tasks", [("boolq", "klue"), (), ("wic", "wic")])
def test_tasks_that_cannot_be_meant_are_refused(tasks: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="give some of boolq, copa, hellaswag, sentineg, wic"):
        check_tasks(tasks)


@pytest.mark.parametrize("wrong", [{"num_fewshot": -1}, {"limit": 0}])
def test_numbers_that_cannot_be_meant_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"(num_fewshot=-1|limit=0); give"):
        evaluate_kobest("model", **wrong)


# Figures


def test_accuracy_and_its_error() -> None:
    # p = 3/4: sqrt(0.75 * 0.25 / 3)
    assert accuracy([True, True, False, True]) == {"value": 0.75, "stderr": 0.25}
    assert accuracy([True]) == {"value": 1.0, "stderr": None}
    from lm_eval.api.metrics import mean_stderr

    choose = random.Random(3)
    correct = [choose.random() < 0.6 for _ in range(397)]
    assert accuracy(correct)["stderr"] == pytest.approx(mean_stderr(correct), rel=1e-12)


def test_macro_f1_by_hand() -> None:
    # 0: 2 hits, taken 3 times, right twice, 4/5. 1: 1 hit, taken once, right twice, 2/3.
    assert macro_f1([0, 0, 1, 1], [0, 0, 0, 1], 2)["value"] == pytest.approx((4 / 5 + 2 / 3) / 2)
    # A reply that is no choice is a miss: 0 has 1 hit, taken once, right twice, 2/3.
    assert macro_f1([0, 0, 1], [0, None, 1], 2)["value"] == pytest.approx((2 / 3 + 1) / 2)
    # The third choice is nowhere.
    assert macro_f1([0, 1], [0, 1], 3)["value"] == 1.0
    assert macro_f1([1], [0], 2) == {"value": 0.0, "stderr": None}


@pytest.mark.parametrize("choices", [2, 4])
def test_macro_f1_is_scikit_learns(choices: int) -> None:
    from sklearn.metrics import f1_score

    choose = random.Random(choices)
    gold = [choose.randrange(choices) for _ in range(500)]
    chosen = [right if choose.random() < 0.5 else choose.randrange(choices) for right in gold]
    ours = macro_f1(gold, chosen, choices)
    assert ours["value"] == pytest.approx(f1_score(gold, chosen, average="macro"), abs=1e-12)
    samples = []
    for n in range(400):
        drawn = [(gold[i], chosen[i]) for i in random.Random(n).choices(range(500), k=500)]
        cells, right, taken = (Counter(keys) for keys in (drawn, *zip(*drawn, strict=True)))
        scores = [2 * cells[c, c] / (right[c] + taken[c]) for c in range(choices)]
        samples.append(sum(scores) / choices)
    mean = sum(samples) / len(samples)
    error = math.sqrt(sum((sample - mean) ** 2 for sample in samples) / (len(samples) - 1))
    # 400 samples know a standard error to 3.5 %.
    assert ours["stderr"] == pytest.approx(error, rel=0.1)
    assert macro_f1(gold, chosen, choices) == ours


def test_averages_by_hand() -> None:
    values = dict(zip(TASKS, (0.2, 0.4, 0.6, 0.8, 1.0), strict=True))
    errors = dict(zip(TASKS, (0.03, 0.04, 0.12, 0.0, 0.84), strict=True))
    f1 = {task: {"value": values[task], "stderr": errors[task]} for task in TASKS}
    means = averages(f1)
    assert means["f1"]["value"] == pytest.approx(0.6)
    # sqrt(0.0009 + 0.0016 + 0.0144 + 0.7056) = 0.85
    assert means["f1"]["stderr"] == pytest.approx(0.85 / 5)
    assert means["f1_without_sentineg_wic"]["value"] == pytest.approx(0.4)
    assert means["f1_without_sentineg_wic"]["stderr"] == pytest.approx(0.13 / 3)
    del f1["wic"]
    assert list(averages(f1)) == ["f1_without_sentineg_wic"]


# The published table


def test_published_averages_imply_a_copa_f1_that_its_column_cannot_have() -> None:
    implied = (0.657, 0.745, 0.650, 0.797)
    rows = kobest_published.published_rows()
    assert [row["model"].partition("/")[2] for row in rows] == [
        *("gemma-2b-it", "gemma-7b-it", "ko-gemma-2b-v1", "ko-gemma-7b-v1"),
    ]
    for row, copa in zip(rows, implied, strict=True):
        cells = {(cell["task"], cell["metric"]): cell["value"] for cell in row["cells"]}
        three = cells["hellaswag", "f1"] + copa + cells["boolq", "f1"]
        five = three + cells["wic", "f1"] + cells["sentineg", "f1"]
        # Every printed figure is rounded by up to 0.0005, and so is the implied one.
        assert cells["average", "f1"] == pytest.approx(five / 5, abs=0.001)
        assert cells["average", "f1_without_sentineg_wic"] == pytest.approx(three / 3, abs=0.001)
        # With two choices macro-F1 is never above accuracy.
        assert copa > cells["copa", "acc"]
        assert f"{copa:.3f}".lstrip("0") in kobest_published.NOTES[0]


def test_macro_f1_of_two_choices_is_never_above_accuracy() -> None:
    for counts in itertools.product(range(4), repeat=4):
        pairs = [(n // 2, n % 2) for n, count in enumerate(counts) for _ in range(count)]
        if pairs:
            gold, chosen = zip(*pairs, strict=True)
            share = sum(right == taken for right, taken in pairs) / len(pairs)
            assert macro_f1(gold, chosen, 2)["value"] <= share + 1e-12


def test_verdict_is_two_standard_errors() -> None:
    tasks = {
        "wic": {
            "metrics": {
                "acc": {"value": 0.54, "stderr": 0.0096},  # 0.528 + 0.012
                "f1": {"value": 0.54, "stderr": 0.0101},  # 0.520 + 0.020
            }
        },
        "copa": {"metrics": {"acc": {"value": 0.42, "stderr": 0.01}}},
    }
    found = kobest_published.compare(tasks, {"f1": {"value": 0.5, "stderr": 0.01}})
    gemma = [cell for cell in found if cell["model"] == "google/gemma-2b-it"]
    assert [(cell["task"], cell["metric"], cell["within"]) for cell in gemma] == [
        ("wic", "acc", True),
        ("wic", "f1", True),
        ("average", "f1", False),
    ]
    assert gemma[1]["difference"] == pytest.approx(0.02)
    verdicts = [cell["within"] for cell in found if cell["metric"] == "acc"]
    assert verdicts == [True, False, True, False]  # 0.528, 0.508, 0.521, 0.563


# A model, by likelihood


@dataclasses.dataclass
class Evaluated:
    result: dict[str, Any]
    requests: list[Any]
    """((context, continuation), their ids, ids)."""
    rows: list[list[int]]
    """What the network was given, without padding."""


@pytest.fixture(scope="module")
def evaluate(tiny_model, tiny_tokenizer, release: Path) -> Callable[..., Evaluated]:
    """Evaluate the tiny model, or another, and look at what reaches it."""
    from kogemma_rag.evaluation.kobest_model import OneBosModel

    def run(**options: Any) -> Evaluated:
        requests, rows = [], []
        compute, call = OneBosModel._loglikelihood_tokens, OneBosModel._model_call

        def seen(model, batch, *args, **more):
            requests.extend(batch)
            return compute(model, batch, *args, **more)

        def given(model, ids, *args, **more):
            rows.extend([token for token in row if token] for row in ids.tolist())
            return call(model, ids, *args, **more)

        given_options = {"model": tiny_model, "tokenizer": tiny_tokenizer, **options}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(OneBosModel, "_loglikelihood_tokens", seen)
            patch.setattr(OneBosModel, "_model_call", given)
            result = evaluate_kobest(
                data_dir=release, batch_size=16, progress=False, **given_options
            )
        return Evaluated(result, requests, rows)

    return run


@pytest.fixture(scope="module")
def plain(evaluate: Callable[..., Evaluated]) -> Evaluated:
    return evaluate(limit=8, chat_template="off")


@pytest.fixture(scope="module")
def turns(evaluate: Callable[..., Evaluated], tiny_directory: Path) -> Evaluated:
    return evaluate(model=str(tiny_directory), tokenizer=None, limit=8, device="cpu")


def first_prompts(evaluated: Evaluated, limit: int) -> dict[str, str]:
    found, at = {}, 0
    for task, choices in CHOICES.items():
        found[task] = evaluated.requests[at][0][0]
        at += choices * limit
    assert at == len(evaluated.requests)
    return found


def test_prompts_are_the_golden_ones(plain: Evaluated, turns: Evaluated) -> None:
    assert first_prompts(plain, 8) == kobest_prompts.PLAIN
    assert first_prompts(turns, 8) == kobest_prompts.TURNS
    asked = [tuple(texts) for texts, _, _ in plain.requests]
    assert [continuation for _, continuation in asked[:2]] == [" 아니오", " 예"]
    assert len({context for context, _ in asked}) == 40
    assert [texts[1] for texts, _, _ in turns.requests[:2]] == ["아니오", "예"]


def test_one_turn_and_no_examples(evaluate: Callable[..., Evaluated]) -> None:
    one_turn = evaluate(tasks=("boolq",), limit=1, multiturn=False)
    assert one_turn.requests[0][0][0] == kobest_prompts.ONE_TURN["boolq"]
    template = one_turn.result["settings"]["chat_template"]
    assert template == {"asked": "auto", "applied": True, "multiturn": False}
    alone = evaluate(tasks=("wic", "boolq"), limit=1, num_fewshot=0, chat_template="off")
    assert [texts for texts, _, _ in alone.requests[1:3]] == [
        ("문장1: [배] 1. 문장2: 이 [배] 1. 두 문장에서 배1가 같은 뜻으로 쓰였나?", " 예"),
        ("글 test1. 질문: test1인가? 답변: ", " 아니오"),
    ]
    assert alone.result["published"]["comparison"] == []
    assert "예시 0개로 잰 이 결과와 비교하지 않습니다" in alone.result["notes"][2]


@pytest.mark.parametrize("mode", ["plain", "turns"])
def test_every_request_has_one_bos(mode: str, request: pytest.FixtureRequest) -> None:
    evaluated: Evaluated = request.getfixturevalue(mode)
    ids = [context + continuation for _, context, continuation in evaluated.requests]
    assert len(ids) == 96
    assert {(each[0], each.count(BOS)) for each in ids} == {(BOS, 1)}
    assert {(row[0], row.count(BOS)) for row in evaluated.rows} == {(BOS, 1)}
    # Choices of one token share what the network computes.
    assert {tuple(each[:-1]) for each in ids} == {tuple(row) for row in evaluated.rows}
    assert evaluated.result["requests"] == {
        "count": 96,
        "one_bos": 96,
        "tokens": sum(map(len, ids)),
        "longest": max(map(len, ids)),
        "window": 8192,
    }


def test_likelihoods_are_the_models(plain: Evaluated, tiny_model, tiny_tokenizer) -> None:
    import torch

    at = 0
    for question in plain.result["questions"]:
        for score in question["loglikelihoods"]:
            (context, continuation), _, _ = plain.requests[at]
            at += 1
            # What is before the choice, without the spaces that go with it.
            start = [BOS, *tiny_tokenizer.encode(context.rstrip(), add_special_tokens=False)]
            ids = [BOS, *tiny_tokenizer.encode(context + continuation, add_special_tokens=False)]
            with torch.inference_mode():
                logits = tiny_model(torch.tensor([ids])).logits[0].log_softmax(-1)
            terms = [float(logits[n - 1, ids[n]]) for n in range(len(start), len(ids))]
            assert score == pytest.approx(sum(terms), rel=1e-4, abs=1e-3)
    assert at == 96


def test_figures_come_from_the_questions(plain: Evaluated) -> None:
    from sklearn.metrics import accuracy_score, f1_score

    result = plain.result
    for task in TASKS:
        asked = [each for each in result["questions"] if each["task"] == task]
        gold, chosen = [each["gold"] for each in asked], [each["chosen"] for each in asked]
        metrics = result["tasks"][task]["metrics"]
        assert metrics["acc"]["value"] == accuracy_score(gold, chosen)
        assert metrics["f1"]["value"] == pytest.approx(f1_score(gold, chosen, average="macro"))
        best = [each["loglikelihoods"].index(max(each["loglikelihoods"])) for each in asked]
        assert chosen == best
        assert all(each["correct"] == (each["gold"] == each["chosen"]) for each in asked)
        assert result["tasks"][task]["examples"] == 8
        assert result["tasks"][task]["version"] == "1.0"
    # Labels of rows 1 to 8, see kobest_release.
    labels = {task: [] for task in TASKS}
    for each in result["questions"]:
        labels[each["task"]].append(each["gold"])
    assert labels == {
        "boolq": [1, 0, 1, 0, 1, 0, 1, 0],
        "copa": [1, 0, 1, 0, 1, 0, 1, 0],
        "hellaswag": [1, 2, 3, 0, 1, 2, 3, 0],
        "sentineg": [1, 0, 1, 0, 1, 0, 1, 0],
        "wic": [1, 0, 1, 0, 1, 0, 1, 0],
    }
    assert list(result["averages"]) == ["f1", "f1_without_sentineg_wic"]
    assert len(result["published"]["comparison"]) == 40
    assert "처음 8문항까지만" in result["notes"][-1]


def test_acc_norm_is_the_harness_s(plain: Evaluated) -> None:
    asked = [each for each in plain.result["questions"] if each["task"] == "hellaswag"]
    assert asked[0]["question"] == "문장: 앞 test1."
    assert asked[0]["choices"] == ["가 test1", "가가 test1", "가가가 test1", "가가가가 test1"]
    right = 0
    for each in asked:
        # Likelihood a character; the choices of row n < 10 have 7, 8, 9 and 10.
        rates = [score / (7 + n) for n, score in enumerate(each["loglikelihoods"])]
        assert each["chosen_normalized"] == rates.index(max(rates))
        right += each["chosen_normalized"] == each["gold"]
    assert plain.result["tasks"]["hellaswag"]["metrics"]["acc_norm"]["value"] == right / 8
    assert "acc_norm" not in plain.result["tasks"]["copa"]["metrics"]


def test_result_is_json_and_says_what_was_run(plain: Evaluated, turns: Evaluated) -> None:
    for evaluated in (plain, turns):
        assert json.loads(json.dumps(evaluated.result, allow_nan=False)) == evaluated.result
    assert turns.result["settings"] == {
        "tasks": list(TASKS),
        "num_fewshot": 5,
        "fewshot_seed": 1234,
        "limit": 8,
        "chat_template": {"asked": "auto", "applied": True, "multiturn": True},
        "batch_size": 16,
        "device": "cpu",
        "dtype": "float32",
    }
    off = {"asked": "off", "applied": False, "multiturn": False}
    assert plain.result["settings"]["chat_template"] == off
    assert turns.result["data"]["source"] == "files"
    assert turns.result["data"]["splits"]["wic"] == {"train": 3318, "validation": 610, "test": 1260}
    assert {"python", "lm-eval", "transformers", "torch"} <= set(turns.result["versions"])


def test_same_again(evaluate: Callable[..., Evaluated], plain: Evaluated) -> None:
    again = evaluate(limit=8, chat_template="off", tasks=("copa",))
    asked = [each for each in plain.result["questions"] if each["task"] == "copa"]
    for each, before in zip(again.result["questions"], asked, strict=True):
        assert each.pop("loglikelihoods") == pytest.approx(before["loglikelihoods"], abs=1e-3)
        assert each == {key: before[key] for key in each}


def test_stopped_run_goes_on_with_the_tasks_that_are_left(
    evaluate: Callable[..., Evaluated], turns: Evaluated, tmp_path: Path
) -> None:
    tasks, asked = ("wic", "sentineg"), []

    class Stopping(RunFolder):
        def record(self, system: str, question_id: str, row: Any) -> None:
            super().record(system, question_id, row)
            asked.append(question_id)
            if asked == ["wic"]:
                raise KeyboardInterrupt

    options = {"tasks": tasks, "limit": 2}
    with pytest.raises(KeyboardInterrupt):
        evaluate(folder=Stopping(tmp_path, {}), **options)
    rest = evaluate(folder=Stopping(tmp_path, {}), **options)
    assert asked == ["wic", "sentineg"]
    assert len(rest.requests) == 4  # two questions of two choices
    whole = evaluate(**options)
    for result in (rest.result, whole.result):
        for key in ("seconds", "machine"):
            del result[key]
    assert rest.result == whole.result
    assert whole.result["requests"]["count"] == 8


def test_nothing_asks_the_network(
    evaluate: Callable[..., Evaluated], tiny_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def refuse(*args: object, **options: object) -> None:
        asked.append(args)
        raise OSError("no network here")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    evaluate(model=str(tiny_directory), tokenizer=None, limit=1, tasks=("boolq", "hellaswag"))
    assert asked == []


def test_nothing_is_written_to_stdout(
    evaluate: Callable[..., Evaluated], capfd: pytest.CaptureFixture[str]
) -> None:
    evaluate(limit=1, tasks=("sentineg",))
    assert capfd.readouterr() == ("", "")


def refusal(evaluate: Callable[..., Evaluated], **options: Any) -> str:
    with pytest.raises(KoBESTModelError) as caught:
        evaluate(limit=1, tasks=("boolq",), **options)
    return str(caught.value)


def test_model_that_cannot_be_evaluated_is_refused(
    evaluate: Callable[..., Evaluated], tiny_model, tiny_tokenizer
) -> None:
    bare = copy.deepcopy(tiny_tokenizer)
    bare.chat_template = None
    assert "has no chat template; give chat_template='off'" in refusal(
        evaluate, tokenizer=bare, chat_template="on"
    )
    off = evaluate(tokenizer=bare, limit=1, tasks=("boolq",))
    assert off.result["settings"]["chat_template"]["applied"] is False

    twice = copy.deepcopy(tiny_tokenizer)
    twice.chat_template = "{{ bos_token }}" + twice.chat_template
    assert "has 2 <bos> instead of one at its start: '<bos><bos>" in refusal(
        evaluate, tokenizer=twice
    )
    late = copy.deepcopy(tiny_tokenizer)
    late.chat_template = late.chat_template.replace("{{ bos_token }}", "나{{ bos_token }}", 1)
    assert "has 2 <bos>" in refusal(evaluate, tokenizer=late)

    small = copy.deepcopy(tiny_model)
    small.config.max_position_embeddings = 64
    assert "2 of 2 requests are longer than the 64 tokens" in refusal(evaluate, model=small)


def test_bos_in_a_text_is_refused(tiny_model, tiny_tokenizer, changed: Path) -> None:
    kobest_release.replace_line(changed, "BoolQ/test.tsv", 2, "1\t글 <bos>\t질문?\tTrue")
    with pytest.raises(KoBESTModelError, match=r"has 2 <bos>.*no text of the data holds it"):
        evaluate_kobest(
            tiny_model,
            tokenizer=tiny_tokenizer,
            data_dir=changed,
            tasks=("boolq",),
            limit=1,
            batch_size=4,
            progress=False,
        )


def test_loaded_model_comes_with_its_tokenizer(tiny_model, release: Path) -> None:
    options = {"data_dir": release, "tasks": ("sentineg",), "progress": False}
    with pytest.raises(ValueError, match="needs tokenizer="):
        evaluate_kobest(tiny_model, **options)
    with pytest.raises(FileNotFoundError, match=r"no model directory '\./nowhere'"):
        evaluate_kobest("./nowhere", **options)


def test_missing_harness_names_the_extra(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(ImportError, match=r"pip install 'kogemma-rag\[eval\]'"):
        evaluate_kobest("model", data_dir=release, tasks=("sentineg",), progress=False)


# A chat model, by what it replies


class Replying(BaseChatModel):
    """Replies what a function makes of the last message; keeps what it was asked."""

    reply: Callable[[str], str]
    asked: list[Any] = []  # noqa: RUF012 - pydantic copies it

    @property
    def _llm_type(self) -> str:
        return "replying"

    def _generate(self, messages, stop=None, run_manager=None, **options) -> ChatResult:
        self.asked.append(messages)
        message = AIMessage(self.reply(messages[-1].text))
        return ChatResult(generations=[ChatGeneration(message=message)])


@pytest.mark.parametrize(
    ("reply", "choice"),
    [
        ("예", 1),
        (" 예.\n", 1),
        ("예입니다", 1),
        (unicodedata.normalize("NFD", "아니오"), 0),
        ("답: 아니오", 0),
        ("2", 1),
        ("1번", 0),
        ("(2) 예", 1),
        ("1. 예", None),
        ("3", None),
        ("2024년", None),
        ("예, 아니오", None),
        ("명예", None),
        ("아닐 거예요", None),
        ("모르겠습니다", None),
        ("", None),
    ],
)
def test_reply_names_one_choice(reply: str, choice: int | None) -> None:
    assert find_choice(reply, ["아니오", "예"]) == choice


def test_choices_that_hold_each_other() -> None:
    choices = ["비가 온다.", "비가 온다. 우산을 쓴다."]
    assert find_choice("비가  온다. 우산을\n쓴다", choices) == 1
    assert find_choice("비가 온다", choices) == 0
    assert find_choice("가 (나) [다]*", ["가 (나) [다]*", "가 (나)"]) == 0


def test_chat_model_is_asked_with_choices_and_examples(release: Path) -> None:
    chat = Replying(reply=lambda prompt: "긍정")
    options = {"data_dir": release, "tasks": ("sentineg",), "progress": False}
    evaluate_kobest_by_generation(chat, num_fewshot=1, limit=1, **options)
    # The first of the examples that the harness draws.
    asked = "문장: 말 {} 긍부정:\n\n보기:\n1. 부정\n2. 긍정\n\n{}"
    order = "보기 하나를 골라 그대로 적으세요. 다른 말은 쓰지 마세요."
    assert chat.asked == [
        [
            HumanMessage(asked.format("train3188", order)),
            AIMessage("부정"),
            HumanMessage(asked.format("test1", order)),
        ]
    ]
    assert choice_prompt("물음 ", ["가", "나"]) == f"물음\n\n보기:\n1. 가\n2. 나\n\n{order}"


def test_replies_are_scored(release: Path) -> None:
    replies = {"test1 ": "긍정", "test2 ": "긍정입니다", "test3 ": "부정, 긍정", "test4 ": "부정"}
    chat = Replying(reply=lambda text: next(v for k, v in replies.items() if f"말 {k}" in text))
    result = evaluate_kobest_by_generation(
        chat,
        data_dir=release,
        tasks=("sentineg",),
        num_fewshot=0,
        limit=4,
        progress=False,
    )
    outcomes = [(each["gold"], each["chosen"], each["correct"]) for each in result["questions"]]
    assert outcomes == [(1, 1, True), (0, 1, False), (1, None, False), (0, 0, True)]
    figures = result["tasks"]["sentineg"]
    assert figures["metrics"]["acc"]["value"] == 0.5
    # 0: 1 hit, taken once, right twice, 2/3. 1: 1 hit, taken twice, right twice, 1/2.
    assert figures["metrics"]["f1"]["value"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert figures["unparsed"] == {"count": 1, "share": 0.25}
    assert result["questions"][2]["reply"] == "부정, 긍정"
    assert (result["method"], result["model"]) == ("generation", "replying")
    assert result["published"]["comparison"] == []
    assert "공개된 표와 비교하지 않습니다" in result["notes"][2]


def test_stopped_questions_are_not_asked_again(
    release: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    replies = iter([AIMessage("부정"), None])

    def reply(prompt: str) -> str:
        if (message := next(replies, AIMessage("긍정"))) is None:
            raise ConnectionError
        return str(message.content)

    chat = Replying(reply=reply)
    options = {"data_dir": release, "tasks": ("hellaswag",), "num_fewshot": 0, "progress": False}
    options |= {"limit": 3, "folder": RunFolder(tmp_path, {})}
    with pytest.raises(ConnectionError):
        evaluate_kobest_by_generation(chat.with_config(max_concurrency=1), **options)
    asked, finished = len(chat.asked), RunFolder(tmp_path, {}).finished("hellaswag")
    assert "hellaswag-1" in finished
    assert "hellaswag-2" not in finished
    result = evaluate_kobest_by_generation(chat, **options)
    assert [each["id"] for each in result["questions"]] == [f"hellaswag-{n}" for n in (1, 2, 3)]
    assert result["questions"][0]["reply"] == "부정"
    assert len(chat.asked) - asked == 3 - len(finished)
    assert capfd.readouterr() == ("", "")


# The true release


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="the measuring data is not beside the project")
def test_true_release() -> None:
    labels = {
        task: dict(sorted(Counter(row["label"] for row in read_task(SHARED, task)["test"]).items()))
        for task in TASKS
    }
    assert labels == {
        "boolq": {0: 699, 1: 705},
        "copa": {0: 517, 1: 483},
        "hellaswag": {0: 124, 1: 137, 2: 121, 3: 118},
        "sentineg": {0: 197, 1: 200},
        "wic": {0: 645, 1: 615},
    }
    endings = [row["ending_1"] for row in read_task(SHARED, "hellaswag")["train"]]
    assert not any('""' in ending for ending in endings)
