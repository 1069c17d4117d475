"""Retrievers compared: figures worked by hand, indexes shared, runs that go on after a stop."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from counting_embeddings import CountingEmbeddings
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.language_models import FakeListChatModel
from langchain_core.retrievers import BaseRetriever

from kogemma_rag import DocumentIndex, rerankers
from kogemma_rag.evaluation.errors import EvaluationDataError
from kogemma_rag.evaluation.question_sets import (
    Answer,
    Question,
    QuestionSet,
    read_question_set,
)
from kogemma_rag.evaluation.retrieval import (
    PRESETS,
    RetrieverSettings,
    RetrieverSettingsError,
    evaluate_retrieval,
    parse_settings,
)
from kogemma_rag.evaluation.runs import RunFolder

SHARED = Path(__file__).parents[2] / "shared" / "data"
TEXTS = {
    "개": "진돗개는 진도에서 자란 개이다. 털은 희거나 누렇다.",
    "범": "호랑이는 시베리아와 만주의 숲에 사는 큰 고양잇과 짐승이다.",
    "곰": "반달가슴곰은 지리산에 살며 가슴에 흰 무늬가 있다. 도토리를 먹는다.",
    "새": "두루미는 겨울에 철원의 논으로 날아오는 새이다.",
}
SET = QuestionSet(
    "짐승.json",
    tuple(Document(text, id=id_, metadata={"title": f"{id_}!"}) for id_, text in TEXTS.items()),
    (
        Question("1", "진돗개는 어디서 자랐나?", {"개": 1}, (Answer("진도", 5),)),
        Question("2", "지리산에 사는 짐승은?", {"곰": 2, "범": 1}),
        Question("3", "고래는 어디에 사나?", {}),
        Question("4", "철원의 논에 오는 새는?", {"새": 1}),
    ),
    "fingerprint",
)


class Scripted(BaseRetriever):
    """Finds what it is told to, and remembers what it was asked."""

    found: dict[str, list[Document]]
    asked: list[str]
    stops_after: int = 1_000

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        if len(self.asked) == self.stops_after:
            raise KeyboardInterrupt
        self.asked.append(query)
        return self.found[query]


def scripted(*found: str, **options: Any) -> Scripted:
    """What is found for questions 1, 2 and 4: a letter for each document."""
    texts = [question.text for question in SET.questions if question.relevant]
    documents = [[Document("", id=letter) for letter in letters] for letters in found]
    return Scripted(found=dict(zip(texts, documents, strict=True)), asked=[], **options)


def measured(systems: Any, **options: Any) -> dict[str, Any]:
    return evaluate_retrieval(SET, systems, progress=False, **options)


def values(run: dict[str, Any], place: int) -> dict[str, float]:
    return {name: metric["value"] for name, metric in run["systems"][place]["metrics"].items()}


def test_figures_are_those_worked_by_hand() -> None:
    good, poor = scripted("개", "범곰", "개새"), scripted("범", "개새범", "개범곰새")
    run = measured({"좋은": good, "나쁜": poor}, ks=(1, 3))
    best = 2 + 1 / np.log2(3)  # of question 2: grades 2, 1
    assert values(run, 0) == pytest.approx(
        {
            "recall@1": (1 + 1 / 2) / 3,
            "hit@1": 2 / 3,
            "mrr@1": 2 / 3,
            "ndcg@1": (1 + 1 / 2) / 3,
            "recall@3": 1,
            "hit@3": 1,
            "mrr@3": (1 + 1 + 1 / 2) / 3,
            "ndcg@3": (1 + (1 + 2 / np.log2(3)) / best + 1 / np.log2(3)) / 3,
        }
    )
    assert values(run, 1) == pytest.approx(
        {
            "recall@1": 0,
            "hit@1": 0,
            "mrr@1": 0,
            "ndcg@1": 0,
            "recall@3": 1 / 2 / 3,
            "hit@3": 1 / 3,
            "mrr@3": 1 / 3 / 3,
            "ndcg@3": 1 / np.log2(4) / best / 3,
        }
    )
    compared = {each["metric"]: each for each in run["comparisons"]}
    assert (compared["recall@1"]["a"], compared["recall@1"]["b"]) == ("나쁜", "좋은")
    assert compared["recall@1"]["difference"] == pytest.approx(-1 / 2)
    # Differences -1, -1/2, 0: of four signs two are as extreme.
    assert compared["recall@1"]["p"] == 0.5
    assert (compared["recall@1"]["low"], compared["recall@1"]["high"]) == (-1, 0)
    interval = run["systems"][0]["metrics"]["recall@1"]
    assert (interval["low"], interval["high"]) == (0, 1)


def test_run_names_what_was_found() -> None:
    run = measured({"가": scripted("개", "새곰범", "개")}, ks=(1, 2))
    results = [question["results"]["가"] for question in run["questions"]]
    assert [question["id"] for question in run["questions"]] == ["1", "2", "4"]
    assert [result["rank"] for result in results] == [1, 2, None]
    assert [result["wrong"] for result in results] == [None, "새", "개"]
    assert results[1]["found"] == [{"id": id_, "score": None} for id_ in "새곰범"]
    assert run["questions"][0]["answers"] == ["진도"]
    assert run["questions"][1]["relevant"] == {"곰": 2, "범": 1}
    assert run["documents"] == {
        id_: {"title": f"{id_}!", "text": text} for id_, text in TEXTS.items()
    }
    assert run["notes"] == [
        "답이 있는 문서가 없는 질문 1개는 세지 않았습니다.",
        "가: 질문 2개에서 찾은 문서가 2개보다 적습니다.",
    ]
    assert run["data"] == {
        "name": "짐승.json",
        "fingerprint": "fingerprint",
        "documents": 4,
        "questions": 4,
    }
    assert run["systems"][0]["settings"] == {"retriever": "Scripted"}
    assert "index" not in run["systems"][0]
    times = [result["ms"] for result in results]
    assert run["systems"][0]["latency"]["p50_ms"] == pytest.approx(sorted(times)[1])
    json.dumps(run)


def test_document_counts_at_its_first_chunk() -> None:
    found = {
        SET.questions[0].text: [
            Document("", id="x1", metadata={"document_id": "범"}),
            Document("", id="x3", metadata={"source": "개", "relevance_score": 0.1234567}),
            Document("", id="x2", metadata={"document_id": "범"}),
        ],
        SET.questions[1].text: [Document("", metadata={"source": "곰"})],
        SET.questions[3].text: [Document("", id="남의 것"), Document("", id="새")],
    }
    run = measured({"가": Scripted(found=found, asked=[])}, ks=(2,))
    results = [question["results"]["가"] for question in run["questions"]]
    assert [result["rank"] for result in results] == [2, 1, 2]
    assert results[0]["found"][1] == {"id": "개", "score": 0.123457}
    assert results[2]["wrong"] == "남의 것"
    assert "남의 것" not in run["documents"]


def test_retriever_of_other_documents_is_refused() -> None:
    with pytest.raises(EvaluationDataError, match=r"남.*진돗개는.*\['a', 'b'\].*document_id"):
        measured({"남": scripted("ab", "ab", "ab")})


def test_what_cannot_be_evaluated_is_refused() -> None:
    unanswered = QuestionSet("x.json", SET.documents, (SET.questions[2],), "")
    with pytest.raises(EvaluationDataError, match=r"x\.json: 답이 있는 문서를 아는 질문이"):
        evaluate_retrieval(unanswered, PRESETS)
    named = QuestionSet("x.csv", (Document("", id="a"),), (Question("1", "왜?", {"a": 1}),), "")
    with pytest.raises(EvaluationDataError, match=r"x\.csv: 문서 'a'에 글이 없어"):
        evaluate_retrieval(named, {"가": PRESETS["words"]}, progress=False)
    with pytest.raises(ValueError, match="name one at least"):
        measured({})
    with pytest.raises(ValueError, match="each k above 0"):
        measured({"가": scripted("개", "곰", "새")}, ks=(0, 1))


def test_presets_find_by_words_and_share_an_index() -> None:
    embeddings = CountingEmbeddings()
    names = ("words", "bm25", "morphemes", "vectors")
    run = measured({name: PRESETS[name] for name in names}, embeddings={"embedded": embeddings})
    for place in range(3):
        assert values(run, place)["mrr@10"] == 1
    assert run["systems"][3]["settings"]["weights"] == [1, 0, 0]
    assert sorted(embeddings.texts) == sorted(TEXTS.values())
    sizes = [system["index"] for system in run["systems"]]
    assert all(size == sizes[0] for size in sizes)
    assert sizes[0]["chunks"] == 4
    assert sizes[0]["bytes"] > 10_000


def test_systems_stay_in_the_order_asked() -> None:
    embeddings = {"a": CountingEmbeddings(), "b": CountingEmbeddings(8)}
    systems = {
        "1": RetrieverSettings(embeddings="a"),
        "2": RetrieverSettings(embeddings="b", titles=True),
        "3": scripted("개", "곰", "새"),
        "4": RetrieverSettings(embeddings="a", fetch_k=2),
    }
    run = measured(systems, embeddings=embeddings)
    assert [system["name"] for system in run["systems"]] == ["1", "2", "3", "4"]
    assert len(embeddings["a"].texts) == 4
    assert embeddings["b"].texts[0] == f"개!\n{TEXTS['개']}"
    assert {each["b"] for each in run["comparisons"]} == {"1"}


def test_chunks_are_documents_found_once() -> None:
    embeddings = CountingEmbeddings()
    settings = RetrieverSettings(chunk_size=20, weights=(0, 1, 0.5))
    run = measured({"조각": settings}, embeddings={"embedded": embeddings}, ks=(1, 4))
    assert run["systems"][0]["index"]["chunks"] == len(embeddings.texts) > 4
    assert all(len(text) <= 20 for text in embeddings.texts)
    for question in run["questions"]:
        found = [hit["id"] for hit in question["results"]["조각"]["found"]]
        assert sorted(found) == sorted(TEXTS)
    assert values(run, 0)["hit@1"] == 1


def test_reranker_judges_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class ByLength(BaseDocumentCompressor):
        model: str
        top_n: int

        def compress_documents(
            self, documents: Sequence[Document], query: str, callbacks: Any = None
        ) -> list[Document]:
            assert (self.model, self.top_n) == ("longest", 3)
            ordered = sorted(documents, key=lambda document: -len(document.page_content))
            return [
                document.model_copy(
                    update={"metadata": {"relevance_score": len(document.page_content)}}
                )
                for document in ordered
            ]

    monkeypatch.setattr(rerankers, "CrossEncoderReranker", ByLength)
    settings = RetrieverSettings(reranker="longest", rerank_k=3)
    run = measured({"재": settings}, embeddings={"embedded": CountingEmbeddings()})
    found = run["questions"][1]["results"]["재"]["found"]
    assert len(found) == 3
    assert [hit["score"] for hit in found] == sorted(len(TEXTS[hit["id"]]) for hit in found)[::-1]


def test_question_is_expanded_by_a_chat_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each ranking has one document, the crane and the bear: a tie, which the id decides."""
    names = []

    def load(name: str) -> FakeListChatModel:
        names.append(name)
        return FakeListChatModel(responses=["반달가슴곰 도토리"])

    monkeypatch.setattr("kogemma_rag.chat_model_loading.load_chat_model", load)
    words = {"weights": (0, 1, 0.5), "k": 1}
    systems = {
        "그냥": RetrieverSettings(**words),
        "넓힌": RetrieverSettings(**words, expansion="query", chat_model="fake"),
    }
    run = measured(systems, embeddings={"embedded": CountingEmbeddings()})
    results = run["questions"][2]["results"]
    assert names == ["fake"]
    assert [hit["id"] for hit in results["그냥"]["found"]] == ["새"]
    assert results["넓힌"]["found"] == [{"id": "곰", "score": None}]


def without_times(run: dict[str, Any]) -> dict[str, Any]:
    copy = json.loads(json.dumps(run))
    del copy["started"], copy["seconds"]
    for system in copy["systems"]:
        del system["latency"]
        system.get("index", {}).pop("seconds", None)
    for question in copy["questions"]:
        for result in question["results"].values():
            del result["ms"]
    return copy


def test_stopped_run_goes_on(tmp_path: Path) -> None:
    found = ("범개", "새곰", "새")
    embeddings = CountingEmbeddings()

    def systems(retriever: Scripted) -> dict[str, Any]:
        return {"색인": PRESETS["words"], "가": retriever}

    def ask(retriever: Scripted, folder: RunFolder | None) -> dict[str, Any]:
        models = {"embedded": embeddings}
        return measured(systems(retriever), folder=folder, embeddings=models)

    stopping = scripted(*found, stops_after=3)  # the first is not counted
    with pytest.raises(KeyboardInterrupt):
        ask(stopping, RunFolder(tmp_path / "run", {}))
    going_on = scripted(*found)
    run = ask(going_on, RunFolder(tmp_path / "run", {}))
    assert going_on.asked == [SET.questions[3].text] * 2
    embedded = list(embeddings.texts)
    finished = scripted(*found)
    again = ask(finished, RunFolder(tmp_path / "run", {}))
    assert finished.asked == []
    assert embeddings.texts == embedded
    assert len(embedded) == len(TEXTS)
    assert [one["latency"] for one in again["systems"]] == [
        one["latency"] for one in run["systems"]
    ]
    assert again["systems"][0]["index"] == run["systems"][0]["index"]
    whole = without_times(ask(scripted(*found), None))
    whole["systems"][0]["index"].pop("bytes")
    for other in (without_times(run), without_times(again)):
        other["systems"][0]["index"].pop("bytes")
        assert other == whole


@pytest.mark.parametrize(
    ("text", "name", "settings"),
    [
        ("hybrid", "hybrid", RetrieverSettings()),
        ("글자: bigrams", "글자", RetrieverSettings(weights=(0, 0, 1), fusion="standardized")),
        (
            "작은 조각: words chunk_size=300 chunk_overlap=50 titles=yes k=5",
            "작은 조각",
            RetrieverSettings(
                weights=(0, 1, 0.5), chunk_size=300, chunk_overlap=50, titles=True, k=5
            ),
        ),
        (
            "모델: embeddings='C:/내 모델' weights=1,0.5,0",
            "모델",
            RetrieverSettings(embeddings="C:/내 모델", weights=(1, 0.5, 0)),
        ),
        (
            "embeddings=C:/모델",
            "embeddings=C:/모델",
            RetrieverSettings(embeddings="C:/모델"),
        ),
    ],
)
def test_settings_are_parsed(text: str, name: str, settings: RetrieverSettings) -> None:
    assert parse_settings(text) == (name, settings)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("이름: fuson=standardized", ["'fuson'은(는) 모르는 설정", "fusion, weights, fetch_k"]),
        ("이름: words 300", ["'300'은(는) 모르는 설정"]),
        ("이름: dense", ["'dense'", "hybrid, vectors, words, bm25, morphemes, bigrams"]),
        ("이름: fetch_k=0", ["fetch_k의 값 '0'"]),
        ("이름: fusion=sum", ["fusion의 값 'sum'", "standardized"]),
        ("이름: weights=1,2", ["weights의 값 ['1', '2']"]),
        ("이름: weights=0,0,0", ["하나는 0보다"]),
        ("이름: chunk_size=10 chunk_overlap=20", ["chunk_size보다 클 수 없습니다"]),
        ("이름: expansion=query", ["expansion과 chat_model은 함께"]),
        ("이름:", ["이름이나 설정이 없습니다"]),
        (": words", ["이름이나 설정이 없습니다"]),
        ("이름: embeddings='x", ["따옴표"]),
    ],
)
def test_settings_that_are_not_understood_are_refused(text: str, parts: list[str]) -> None:
    with pytest.raises(RetrieverSettingsError) as caught:
        parse_settings(text)
    assert [part for part in parts if part not in str(caught.value)] == []


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="the measuring data is not beside the project")
def test_figures_of_korquad_are_those_of_a_plain_loop(tmp_path: Path) -> None:
    """The first 60 paragraphs, every fifth of their questions."""
    whole = read_question_set(SHARED / "KorQuAD_v1.0_dev.json")
    documents = whole.documents[:60]
    ids = {document.id for document in documents}
    questions = [question for question in whole.questions if ids >= set(question.relevant)][::5]
    question_set = QuestionSet("part", documents, tuple(questions), "")
    run = evaluate_retrieval(question_set, {"hybrid": PRESETS["hybrid"]}, progress=False)
    ranks = []
    with DocumentIndex.open(tmp_path) as index:
        index.add_documents([Document(one.page_content, id=one.id) for one in documents])
        for question in questions:
            found = [document.id for document, _ in index.search(question.text, k=10)]
            (wanted,) = question.relevant
            ranks.append(found.index(wanted) + 1 if wanted in found else np.inf)
    table = np.array(ranks)
    expected = {"recall@1": (table <= 1).mean(), "mrr@10": (1 / table).mean()}
    assert {name: values(run, 0)[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    assert len(questions) > 50
    assert expected["recall@1"] > 0.9
