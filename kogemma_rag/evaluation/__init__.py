"""How good is it: KoBEST for a model, retrieval and answers for an index, by numbers.

Every public name is loaded on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kogemma_rag.evaluation.answers import AnswerSystem, answer_systems, evaluate_answers
    from kogemma_rag.evaluation.comparison import compare_runs
    from kogemma_rag.evaluation.errors import EvaluationDataError
    from kogemma_rag.evaluation.indexed_documents import IndexedDocuments
    from kogemma_rag.evaluation.kobest import evaluate_kobest
    from kogemma_rag.evaluation.kobest_generation import evaluate_kobest_by_generation
    from kogemma_rag.evaluation.question_making import make_questions
    from kogemma_rag.evaluation.question_sets import (
        Answer,
        Question,
        QuestionSet,
        read_question_set,
        write_question_set,
    )
    from kogemma_rag.evaluation.report import Report, render_report, show_report
    from kogemma_rag.evaluation.retrieval import PRESETS, RetrieverSettings, evaluate_retrieval
    from kogemma_rag.evaluation.runs import RunError, RunFolder, read_run

_MODULES = {
    "Answer": "question_sets",
    "AnswerSystem": "answers",
    "EvaluationDataError": "errors",
    "IndexedDocuments": "indexed_documents",
    "PRESETS": "retrieval",
    "Question": "question_sets",
    "QuestionSet": "question_sets",
    "Report": "report",
    "RetrieverSettings": "retrieval",
    "RunError": "runs",
    "RunFolder": "runs",
    "answer_systems": "answers",
    "compare_runs": "comparison",
    "evaluate_answers": "answers",
    "evaluate_kobest": "kobest",
    "evaluate_kobest_by_generation": "kobest_generation",
    "evaluate_retrieval": "retrieval",
    "make_questions": "question_making",
    "read_question_set": "question_sets",
    "read_run": "runs",
    "render_report": "report",
    "show_report": "report",
    "write_question_set": "question_sets",
}

__all__ = [
    "PRESETS",
    "Answer",
    "AnswerSystem",
    "EvaluationDataError",
    "IndexedDocuments",
    "Question",
    "QuestionSet",
    "Report",
    "RetrieverSettings",
    "RunError",
    "RunFolder",
    "answer_systems",
    "compare_runs",
    "evaluate_answers",
    "evaluate_kobest",
    "evaluate_kobest_by_generation",
    "evaluate_retrieval",
    "make_questions",
    "read_question_set",
    "read_run",
    "render_report",
    "show_report",
    "write_question_set",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
