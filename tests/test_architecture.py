"""Imports point down the rows of the architecture, and the package itself loads nothing heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import kogemma_rag

PACKAGE = Path(kogemma_rag.__file__).parent
# Modules on one row do not import each other; a row imports only rows below it.
ROWS = (
    {"cli"},
    {"mcp_server"},
    {"web"},
    {"error_sentences"},
    {"evaluation"},
    {"chains"},
    {"index", "engines"},
    {"local_target", "distributed"},
    {"sync", "transfer"},
    {"retrievers", "rerankers", "query_expansion", "ingest"},
    {"spool", "chat_model_loading"},
    {"vectorstores", "chat_models", "embeddings", "chunk_readers", "chunk_worker", "web_loader"},
    {
        "fusion",
        "neighbours",
        "lexical",
        "document_loaders",
        "web_client",
        "text_splitters",
        "local_model",
        "reply_messages",
    },
    {"call_options"},
    {"backends"},
    {"cosine_vectorstore"},
    {"embedder", "filter_cache", "langchain_faiss", "transformer_encoder"},
    {
        "int8_encoder",
        "storage",
        "vector_index",
        "extractive",
        "citations",
        "checkpoints",
        "generation",
    },
    {"database", "document_identity", "vector_manifest"},
    {"filters", "storage_errors", "chat_template", "structured_output", "detokenizer", "weights"},
    {"model_runner", "lexical_files", "vector_segments", "writer_lock", "passage_text"},
    {"morphemes", "prompts", "settings", "terminal", "tool_calls", "json_schema", "control_tokens"},
    {"decode_steps"},
    {"gemma_step"},
    {"kv_cache", "decode_graphs", "sampling", "similarity", "worker_thread", "read_ahead"},
)
ENTRY_POINTS = {"__init__", "__main__"}
HEAVY = {
    *("torch", "transformers", "sentence_transformers", "faiss", "tantivy", "mecab", "model2vec"),
    *("pypdfium2", "pdfplumber", "docx", "pptx", "openpyxl", "bs4", "unhwp", "rhwp", "langchain"),
    *("numpy", "fastapi", "xgrammar", "openai", "psutil", "jsonschema", "pyarrow", "ray"),
    *("starlette", "uvicorn", "prometheus_client", "markdown_it", "nh3", "watchfiles", "mcp"),
    *("psycopg", "pymilvus", "langchain_postgres", "langchain_milvus", "sqlalchemy"),
    *("lm_eval", "datasets", "jinja2"),
}


def imports_of(file: Path) -> set[str]:
    """First-level modules of the package that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("kogemma_rag"):
            parts = (node.module or "").split(".")
            names |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {
                alias.name.split(".")[1]
                for alias in node.names
                if alias.name.startswith("kogemma_rag.")
            }
    return names - {"__version__"}


def row_of(module: str) -> int:
    return next(number for number, row in enumerate(ROWS) if module in row)


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: file.stem)
def test_imports_point_down(file: Path) -> None:
    module = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if module in ENTRY_POINTS:
        return
    upward = {name for name in imports_of(file) - {module} if row_of(name) <= row_of(module)}
    assert not upward, f"{file.name} imports {upward}, which stand no lower than itself"


@pytest.mark.parametrize("module", ["kogemma_rag", "kogemma_rag.cli"])
def test_import_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({{n.split('.')[0] for n in sys.modules}}))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert not HEAVY & set(loaded.stdout.split())


@pytest.mark.parametrize("name", kogemma_rag.__all__)
def test_public_name_is_there(name: str) -> None:
    assert getattr(kogemma_rag, name).__doc__


def test_unknown_public_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        kogemma_rag.Nothing  # noqa: B018
