"""JSON text in, an object of a pydantic model out; what is wrong is named by its place in it."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from kogemma_rag.evaluation.errors import EvaluationDataError

Model = TypeVar("Model", bound=BaseModel)

# Types of pydantic's errors, in words for who edits the file.
_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "missing": "이 항목이 없습니다. 넣으세요",
        "string_type": '글이어야 합니다. 따옴표로 묶으세요: "…"',
        "string_too_short": "비어 있습니다. 글을 넣으세요",
        "string_unicode": "글자가 아닌 부호가 들어 있습니다. 지우세요",
        "int_type": "정수여야 합니다",
        "int_from_float": "정수여야 합니다",
        "greater_than": "1 이상이어야 합니다",
        "greater_than_equal": "0 이상이어야 합니다",
        "bool_type": "true나 false여야 합니다",
        "list_type": "목록이어야 합니다: […]",
        "model_type": "이름과 값의 묶음이어야 합니다: {…}",
        "dict_type": "이름과 값의 묶음이어야 합니다: {…}",
    }
)


def checked_json(text: str, model: type[Model], where: str, *, line: int | None = None) -> Model:
    """The object that a JSON text holds.

    Args:
        text: One JSON value.
        model: What it has to be.
        where: The file, as errors name it.
        line: Where the text is one line of the file: its number, from 1.

    Raises:
        EvaluationDataError: If it is no JSON, with the line; if it is another object, with the
            place, such as `data[3].paragraphs[0].context`.
    """
    at = where if line is None else f"{where}: {line}번째 줄"
    try:
        return model.model_validate(json.loads(text))
    except json.JSONDecodeError as error:
        line = error.lineno if line is None else line
        raise EvaluationDataError(
            f"{where}: {line}번째 줄: JSON 형식이 아닙니다({error.msg}, {error.colno}번째 글자). "
            "그 자리의 따옴표와 쉼표, 괄호를 확인하세요"
        ) from error
    except RecursionError as error:
        raise EvaluationDataError(f"{at}: 너무 깊이 겹친 JSON입니다") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        reason = _REASONS.get(first["type"], first["msg"])
        place = _place(first["loc"])
        raise EvaluationDataError(": ".join(filter(None, [at, place, reason]))) from error
    except ValueError as error:  # a number of thousands of digits
        raise EvaluationDataError(f"{at}: 읽을 수 없는 JSON입니다({error})") from error


def _place(steps: tuple[int | str, ...]) -> str:
    names = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return "".join(names).removeprefix(".")
