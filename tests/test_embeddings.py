"""Vectors against independent sums, sentence-transformers itself, and the shipped files."""

import json
import shutil
import subprocess
import sys
import time
import unicodedata
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests
from safetensors.numpy import load_file
from tiny_bert import save_tiny_bert
from tokenizers import Tokenizer

from kogemma_rag import embeddings
from kogemma_rag.embeddings import EMBEDDED_FOLDER, EmbeddingPreset, MultilingualEmbeddings

SHARED = Path(__file__).parents[1].parent / "shared"
TEXTS = [
    "연차 휴가는 사흘 전까지 신청한다.",
    "휴가",
    "서울은 대한민국의 수도이며 한강이 도시를 가로질러 흐른다.",
    "The meeting room is booked on Monday.",
    "회의실은 1시간 단위로 예약한다.",
]


@pytest.fixture(scope="module")
def embedded() -> MultilingualEmbeddings:
    return MultilingualEmbeddings()


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def tiny_bert_384(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_bert(tmp_path_factory.mktemp("bert"), dimension=384)


class TestEmbeddedUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[MultilingualEmbeddings]:
        return MultilingualEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, str]:
        return {"model": "embedded"}


class TestEmbeddedIntegration(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[MultilingualEmbeddings]:
        return MultilingualEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, str]:
        return {"model": "embedded"}


class TestDirectoryIntegration(EmbeddingsIntegrationTests):
    @pytest.fixture(autouse=True)
    def _folder(self, tiny_bert: Path) -> None:
        self.folder = tiny_bert

    @property
    def embeddings_class(self) -> type[MultilingualEmbeddings]:
        return MultilingualEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, str]:
        return {"model": str(self.folder), "device": "cpu"}


def test_embedded_vector_is_the_scaled_mean_of_its_rows(embedded: MultilingualEmbeddings) -> None:
    tensors = load_file(EMBEDDED_FOLDER / "model.safetensors")
    tokenizer = Tokenizer.from_file(str(EMBEDDED_FOLDER / "tokenizer.json"))
    for text in TEXTS:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        rows = tensors["embeddings"][ids].astype(np.float64) * tensors["weights"][ids][:, None]
        expected = rows.mean(axis=0) / np.linalg.norm(rows.mean(axis=0))
        np.testing.assert_allclose(embedded.embed_query_array(text), expected, atol=1e-6)


def test_embedded_reads_a_text_to_its_end(embedded: MultilingualEmbeddings) -> None:
    half = embedded.embed_query_array("서울 " * 20_000 + "휴가 " * 20_000)
    np.testing.assert_allclose(half, embedded.embed_query_array("서울 휴가"), atol=1e-4)


def test_embedded_batch_equals_one_by_one(embedded: MultilingualEmbeddings) -> None:
    together = embedded.embed_documents_array(TEXTS * 3)
    alone = [embedded.embed_documents_array([text])[0] for text in TEXTS * 3]
    np.testing.assert_array_equal(together, alone)
    assert together.dtype == np.float32


def test_lists_and_arrays_hold_the_same_numbers(embedded: MultilingualEmbeddings) -> None:
    np.testing.assert_array_equal(
        embedded.embed_documents(TEXTS), embedded.embed_documents_array(TEXTS)
    )
    np.testing.assert_array_equal(
        embedded.embed_query(TEXTS[0]), embedded.embed_query_array(TEXTS[0])
    )


def test_no_texts_give_no_vectors(embedded: MultilingualEmbeddings) -> None:
    dimension = embedded.fingerprint["dimension"]
    assert embedded.embed_documents([]) == []
    assert embedded.embed_documents_array([]).shape == (0, dimension)


@pytest.mark.parametrize("text", ["", " ", "\n\t "])
def test_text_without_a_token_is_the_equal_vector(
    embedded: MultilingualEmbeddings, text: str
) -> None:
    vectors = embedded.embed_documents_array(["휴가", text])
    dimension = vectors.shape[1]
    np.testing.assert_allclose(vectors[1], np.full(dimension, dimension**-0.5), rtol=1e-6)
    assert abs(vectors[0] @ vectors[1]) < 0.3


def test_unknown_characters_still_tell_texts_apart(embedded: MultilingualEmbeddings) -> None:
    first, second, again = embedded.embed_documents_array(["뷁😀", "躄齾", "뷁😀"])
    assert first @ again == pytest.approx(1)
    assert first @ second < 0.9


def test_threads_take_turns_and_get_the_vectors_of_one_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours = MultilingualEmbeddings()
    expected = ours.embed_documents_array(TEXTS)
    encode, inside, most = ours._encoder._model.encode, [], []

    def watched(texts: list[str], **options: bool) -> np.ndarray:
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.002)
        vectors = encode(texts, **options)
        inside.pop()
        return vectors

    monkeypatch.setattr(ours._encoder._model, "encode", watched)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: ours.embed_documents_array(TEXTS), range(40)))
    assert max(most) == 1
    for result in results:
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("휴가는 며칠 전에 신청하나요?", "연차 휴가는 사흘 전까지 인사팀에 신청해야 한다."),
        ("회의실을 예약하는 방법", "회의실은 사내 누리집에서 한 시간 단위로 예약할 수 있다."),
        ("대한민국의 수도는 어디인가?", "서울은 대한민국의 수도이다."),
        ("이순신 장군은 언제 태어났나?", "이순신은 1545년 한성부 건천동에서 태어난 무신이다."),
        ("컴퓨터 비밀번호를 바꾸는 주기", "전산 계정의 암호는 석 달마다 변경하고 컴퓨터를 잠근다."),
        ("who wrote the symphony", "The symphony was written by the composer in 1808."),
    ],
)
def test_embedded_finds_the_right_sentence(
    embedded: MultilingualEmbeddings, question: str, answer: str
) -> None:
    sentences = [
        "연차 휴가는 사흘 전까지 인사팀에 신청해야 한다.",
        "회의실은 사내 누리집에서 한 시간 단위로 예약할 수 있다.",
        "서울은 대한민국의 수도이다.",
        "이순신은 1545년 한성부 건천동에서 태어난 무신이다.",
        "전산 계정의 암호는 석 달마다 변경하고 컴퓨터를 잠근다.",
        "The symphony was written by the composer in 1808.",
        "The river flows through the old town.",
        "출장비는 영수증을 붙여 열흘 안에 정산한다.",
    ]
    scores = embedded.embed_documents_array(sentences) @ embedded.embed_query_array(question)
    assert sentences[int(scores.argmax())] == answer


def test_embedded_loads_no_torch() -> None:
    code = (
        "import sys; from kogemma_rag import MultilingualEmbeddings as E; E().embed_query('휴가');"
        "print([m for m in ('torch','transformers','sentence_transformers','langchain_huggingface')"
        " if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.stdout.strip(), result.stderr) == ("[]", "")


def test_shipped_weights_are_small_int8_and_stay_so(embedded: MultilingualEmbeddings) -> None:
    sizes = [path.stat().st_size for path in EMBEDDED_FOLDER.rglob("*") if path.is_file()]
    assert sum(sizes) < 12_000_000
    assert embedded._encoder._model.embedding.dtype == np.int8


def test_model_card_lists_licences_and_no_training_on_test_data() -> None:
    card = (EMBEDDED_FOLDER / "README.md").read_text(encoding="utf-8")
    trained, measured = card.split("| trained on |")[1].split("| measured on, not trained on |")
    for source in ("Wikipedia", "TyDi", "KorSTS", "KLUE-NLI", "paraKQC", "songys"):
        assert source in trained
    assert "KorQuAD" not in trained
    assert "KoBEST" not in card
    assert "KorQuAD" in measured


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="the measuring data is not beside the project")
def test_embedded_on_korquad_dev_is_above_its_floor(embedded: MultilingualEmbeddings) -> None:
    articles = json.loads((SHARED / "data/KorQuAD_v1.0_dev.json").read_text("utf-8"))["data"]
    paragraphs = [p for article in articles for p in article["paragraphs"]]
    questions = [(q["question"], i) for i, p in enumerate(paragraphs) for q in p["qas"]]
    passages = embedded.embed_documents_array([p["context"] for p in paragraphs])
    # Questions and passages have the same (empty) prompt, so one call may embed all questions.
    scores = embedded.embed_documents_array([question for question, _ in questions]) @ passages.T
    best = np.argsort(-scores, axis=1)[:, :10]
    gold = np.array([[i] for _, i in questions])
    assert (len(paragraphs), len(questions)) == (964, 5774)
    assert (best[:, :1] == gold).any(axis=1).mean() > 0.64
    assert (best == gold).any(axis=1).mean() > 0.93


def test_directory_vectors_equal_sentence_transformers_with_its_prompts(tiny_bert: Path) -> None:
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(str(tiny_bert), device="cpu")
    ours = MultilingualEmbeddings(tiny_bert, device="cpu", batch_tokens=40)
    documents = [f"본문: {text}" for text in TEXTS]
    expected = reference.encode(documents, normalize_embeddings=True, prompt="")
    np.testing.assert_allclose(ours.embed_documents_array(TEXTS), expected, atol=1e-6)
    query = reference.encode("질문: 휴가", normalize_embeddings=True, prompt="")
    np.testing.assert_allclose(ours.embed_query_array("휴가"), query, atol=1e-6)
    bare = reference.encode("휴가", normalize_embeddings=True, prompt="")
    assert query @ bare < 1 - 1e-4
    assert ours.fingerprint["query_prompt"] == "질문: "
    assert ours.fingerprint["passage_prompt"] == "본문: "


def test_line_breaks_reach_the_model(tiny_bert: Path) -> None:
    ours = MultilingualEmbeddings(tiny_bert, query_prompt="지시\n질문: ")
    seen: list[str] = []
    encode = ours._encoder._model.encode_query
    ours._encoder._model.encode_query = lambda texts, **options: (
        seen.extend(options["prompt"] + text for text in texts) or encode(texts, **options)
    )
    ours.embed_query("첫째 줄\n둘째 줄")
    assert seen == ["지시\n질문: 첫째 줄\n둘째 줄"]


def test_given_prompts_win_over_stored_ones(tiny_bert: Path) -> None:
    from sentence_transformers import SentenceTransformer

    ours = MultilingualEmbeddings(tiny_bert, query_prompt="", passage_prompt="글: ")
    reference = SentenceTransformer(str(tiny_bert))
    for vector, text in (
        (ours.embed_query_array("휴가"), "휴가"),
        (ours.embed_documents_array(["휴가"])[0], "글: 휴가"),
    ):
        expected = reference.encode(text, normalize_embeddings=True, prompt="")
        np.testing.assert_allclose(vector, expected, atol=1e-6)


def test_preset_prompts_win_over_stored_ones(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset = EmbeddingPreset("query: ", "passage: ", 32, 48, "MIT")
    monkeypatch.setattr(embeddings, "PRESETS", {str(tiny_bert): preset})
    plain = MultilingualEmbeddings(tiny_bert, query_prompt="", passage_prompt="")
    ours = MultilingualEmbeddings(tiny_bert)
    expected = plain.embed_query_array("query: 휴가")
    np.testing.assert_allclose(ours.embed_query_array("휴가"), expected, atol=1e-6)
    expected = plain.embed_documents_array(["passage: 휴가"])
    np.testing.assert_allclose(ours.embed_documents_array(["휴가"]), expected, atol=1e-6)


def test_preset_with_another_dimension_is_refused(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset = EmbeddingPreset("", "", 1024, 512, "MIT")
    monkeypatch.setattr(embeddings, "PRESETS", {str(tiny_bert): preset})
    with pytest.raises(ValueError, match="vectors of 32 numbers, its card says 1024"):
        MultilingualEmbeddings(tiny_bert)


def test_cut_texts_are_counted(tiny_bert: Path) -> None:
    ours = MultilingualEmbeddings(tiny_bert)
    # Each character is a token; "본문:" and two special tokens make five: 43 more fit into 48.
    texts = ["가" * 43, "가" * 44, "가" * 10, "가" * 100]
    with pytest.warns(UserWarning, match=r"48 tokens.* 2 of 4 texts .*up to 105 tokens") as caught:
        ours.embed_documents_array(texts)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours.embed_documents_array([texts[0], texts[2]])


def test_lengths_are_whole_however_the_tokenizer_is_set(tiny_bert: Path) -> None:
    """Encoding leaves truncation and padding on, for every thread."""
    encoder = MultilingualEmbeddings(tiny_bert)._encoder
    texts = ["", "가", "가" * 46, "가" * 47, "가" * 200]
    expected = [2, 3, 48, 49, 202]
    assert encoder._lengths(texts).tolist() == expected
    encoder.encode(["가" * 30], "", is_query=False, show_progress=False)
    assert encoder._model.tokenizer.backend_tokenizer.truncation["max_length"] == 48
    assert encoder._lengths(texts).tolist() == expected


def test_batches_hold_like_lengths_and_at_most_the_budget(tiny_bert: Path) -> None:
    encoder = MultilingualEmbeddings(tiny_bert, batch_tokens=96)._encoder
    lengths = np.random.default_rng(0).integers(2, 49, 500)
    batches = list(encoder._batches(lengths))
    assert sorted(np.concatenate(batches).tolist()) == list(range(500))
    for rows in batches:
        tokens = lengths[rows].max() * len(rows)
        assert tokens <= 96
        assert tokens - lengths[rows].sum() <= 6
    assert [lengths[rows].max() for rows in batches] == sorted(
        (lengths[rows].max() for rows in batches), reverse=True
    )
    alone = list(encoder._batches(np.array([500, 3, 400])))
    assert [rows.tolist() for rows in alone] == [[0], [2], [1]]


def test_in_8_bits_a_text_is_padded_by_a_sixteenth_at_most(tiny_bert: Path) -> None:
    encoder = MultilingualEmbeddings(tiny_bert, device="cpu", quantization="int8")._encoder
    lengths = np.random.default_rng(0).integers(2, 200, 300)
    batches = list(encoder._batches(lengths))
    assert sorted(np.concatenate(batches).tolist()) == list(range(300))
    assert any(lengths[rows].min() < lengths[rows].max() for rows in batches)
    for rows in batches:
        assert lengths[rows].min() >= lengths[rows].max() * 15 / 16


def test_texts_of_many_lengths_keep_their_order(tiny_bert: Path) -> None:
    from sentence_transformers import SentenceTransformer

    choose = np.random.default_rng(0)
    texts = ["".join(choose.choice(list("가나다라마바사"), n)) for n in choose.integers(1, 60, 80)]
    reference = SentenceTransformer(str(tiny_bert), device="cpu")
    expected = reference.encode(texts, prompt="", batch_size=1, normalize_embeddings=True)
    ours = MultilingualEmbeddings(
        tiny_bert, device="cpu", passage_prompt="", batch_tokens=100, show_progress=True
    )
    with pytest.warns(UserWarning, match="were cut"):
        given = ours.embed_documents_array(texts)
    np.testing.assert_allclose(given, expected, atol=1e-6)


def test_progress_counts_texts_and_their_rate(
    tiny_bert: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ours = MultilingualEmbeddings(tiny_bert, device="cpu", show_progress=True)
    capfd.readouterr()
    ours.embed_documents_array(TEXTS)
    assert "5/5" in (shown := capfd.readouterr().err)
    assert "text/s" in shown
    ours.embed_query_array("휴가")
    assert capfd.readouterr().err == ""


def test_int8_layer_equals_the_sum_of_its_rounded_parts() -> None:
    """Against float64 arithmetic: 256 steps a row, and weights exact for the mean of tokens."""
    import torch

    from kogemma_rag.int8_encoder import Int8EncoderLinear

    torch.manual_seed(0)
    linear = torch.nn.Linear(96, 40)
    states = torch.randn(3, 50, 96) + 4 * torch.randn(96)
    with torch.inference_mode():
        given = Int8EncoderLinear(linear)(states).double()
        layer = Int8EncoderLinear(linear)
        expected = linear.double()(states.double())
        rows = layer(states[0]).double()
    scale = expected.std()
    # One state is off by the steps of its row and of the weights, the mean by nearly nothing.
    assert (given - expected).abs().max() < 0.1 * scale
    assert (given.mean(1) - expected.mean(1)).abs().max() < 0.01 * scale
    assert (rows.mean(0) - expected[0].mean(0)).abs().max() > 0.01 * scale


@pytest.mark.parametrize("constant", [0.0, -2.5])
def test_int8_layer_of_constant_states(constant: float) -> None:
    import torch

    from kogemma_rag.int8_encoder import Int8EncoderLinear

    torch.manual_seed(0)
    linear = torch.nn.Linear(32, 8, bias=False)
    states = torch.full((1, 4, 32), constant)
    with torch.inference_mode():
        torch.testing.assert_close(
            Int8EncoderLinear(linear)(states), linear(states), atol=1e-3, rtol=0
        )


def test_int8_vectors_are_near_and_do_not_depend_on_their_neighbours(tiny_bert: Path) -> None:
    texts = [*TEXTS, "가나다", "휴가 " * 12]
    plain = MultilingualEmbeddings(tiny_bert, device="cpu")
    ours = MultilingualEmbeddings(tiny_bert, device="cpu", quantization="int8")
    together = ours.embed_documents_array(texts)
    cosines = (together * plain.embed_documents_array(texts)).sum(axis=1)
    assert 0.999 < cosines.min() < 1 - 1e-6
    alone = np.array([ours.embed_documents_array([text])[0] for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert ours.fingerprint == {**plain.fingerprint, "quantization": "int8"}
    assert "quantization" not in plain.fingerprint


def test_quantization_where_there_is_none_is_refused(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    tokenizer = Tokenizer.from_file(str(EMBEDDED_FOLDER / "tokenizer.json"))
    static = StaticEmbedding(tokenizer, embedding_dim=8)
    SentenceTransformer(modules=[static], device="cpu").save(str(tmp_path / "static"))
    with pytest.raises(ValueError, match="no transformer whose linear layers could be quantized"):
        MultilingualEmbeddings(tmp_path / "static", device="cpu", quantization="int8")
    with pytest.raises(ValueError, match="or quantization to choose"):
        MultilingualEmbeddings(quantization="int8")
    with pytest.raises(ValueError, match="batch_tokens is 0; it must be 1 or more"):
        MultilingualEmbeddings(tmp_path / "static", batch_tokens=0)


def test_a_model_without_a_transformer_embeds(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    tokenizer = Tokenizer.from_file(str(EMBEDDED_FOLDER / "tokenizer.json"))
    reference = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=8)])
    reference.save(str(tmp_path / "static"))
    ours = MultilingualEmbeddings(tmp_path / "static", device="cpu")
    expected = reference.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(ours.embed_documents_array(TEXTS), expected, atol=1e-6)


def test_fingerprint_follows_the_files_but_not_the_card(tiny_bert: Path, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(tiny_bert, copy)
    first = MultilingualEmbeddings(copy).fingerprint
    assert first == {
        "name": str(copy),
        "revision": first["revision"],
        "dimension": 32,
        "query_prompt": "질문: ",
        "passage_prompt": "본문: ",
        "normalized": True,
    }
    (copy / "README.md").write_text("another card", encoding="utf-8")
    assert MultilingualEmbeddings(copy).fingerprint == first
    config = copy / "config.json"
    same_length = config.read_bytes().replace(b"{", b"{ ", 1).replace(b"\n}", b"}", 1)
    assert len(same_length) == config.stat().st_size
    config.write_bytes(same_length)
    assert MultilingualEmbeddings(copy).fingerprint["revision"] != first["revision"]
    assert len(str(MultilingualEmbeddings().fingerprint["revision"])) == 64


def test_hub_preset_from_the_cache(tiny_bert_384: Path, tmp_path: Path) -> None:
    """A preset's name, found in an offline hub cache: its prompts, and its commit as revision."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hub/models--intfloat--multilingual-e5-small"
    shutil.copytree(tiny_bert_384, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(commit)
    code = (
        "import json, sys; from kogemma_rag.embeddings import MultilingualEmbeddings as E\n"
        "e = E('intfloat/multilingual-e5-small', device='cpu')\n"
        "p = E(sys.argv[1], device='cpu', query_prompt='', passage_prompt='')\n"
        "print(json.dumps([e.fingerprint, float(e.embed_query_array('휴가') @ "
        "p.embed_query_array('query: 휴가')), float(e.embed_documents_array(['휴가'])[0] @ "
        "p.embed_query_array('passage: 휴가'))]))"
    )
    environment = {
        "PATH": "",
        "HF_HUB_CACHE": str(tmp_path / "hub"),
        "HF_HUB_OFFLINE": "1",
        "SENTENCE_TRANSFORMERS_HOME": str(tmp_path / "elsewhere"),
    }
    result = subprocess.run(
        [sys.executable, "-c", code, str(tiny_bert_384)],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert result.returncode == 0, result.stderr
    fingerprint, query, passage = json.loads(result.stdout)
    assert fingerprint["revision"] == commit
    assert (fingerprint["query_prompt"], fingerprint["passage_prompt"]) == ("query: ", "passage: ")
    assert (query, passage) == (pytest.approx(1, abs=1e-6), pytest.approx(1, abs=1e-6))


def test_bad_input_is_named(tmp_path: Path, embedded: MultilingualEmbeddings) -> None:
    with pytest.raises(TypeError, match="one string; pass a list"):
        embedded.embed_documents("휴가")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="embedded model has no prompts, device, revision, batch_"):
        MultilingualEmbeddings(device="cuda")
    with pytest.raises(OSError, match=r"cannot load the embedding model '.*nowhere'"):
        MultilingualEmbeddings(tmp_path / "nowhere")


def test_not_finite_vectors_are_an_error(tiny_bert: Path) -> None:
    ours = MultilingualEmbeddings(tiny_bert)
    ours._encoder._model.encode_document = lambda texts, **_: np.array([[1.0, 0], [np.nan, 1]])
    with pytest.raises(ValueError, match=r"not finite for the texts at \[1\]"):
        ours.embed_documents(["가", "나"])


def test_progress_is_off_by_default(capfd: pytest.CaptureFixture[str]) -> None:
    MultilingualEmbeddings().embed_documents(TEXTS)
    assert capfd.readouterr().err == ""
    MultilingualEmbeddings(show_progress=True).embed_documents(TEXTS)
    assert "100%" in capfd.readouterr().err


def test_decomposed_text_has_the_vector_of_composed(
    tiny_bert: Path, embedded: MultilingualEmbeddings
) -> None:
    for model in (embedded, MultilingualEmbeddings(tiny_bert)):
        for text in TEXTS:
            decomposed = unicodedata.normalize("NFD", text)
            np.testing.assert_array_equal(
                model.embed_documents_array([decomposed]), model.embed_documents_array([text])
            )
