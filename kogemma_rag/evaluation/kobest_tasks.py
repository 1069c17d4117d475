"""KoBEST's tasks as lm-evaluation-harness has them, on the hub's data or the release's files.

Prompts, choices, few-shot examples and the way they are drawn are the harness's. Knows no model.
"""

import contextlib
import io
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kogemma_rag.evaluation.kobest_data import TASKS, KoBESTTask, Rows, fingerprint, read_task

HUB_DATA = "skt/kobest_v1"
# What the harness draws few-shot examples by unless told otherwise.
FEWSHOT_SEED = 1234

# Stock F1 has the harness fetch a script from the hub and run it. What F1 is made of, the right
# choice and the one taken, comes without, and making F1 of it is not left to the harness.
_MEAN = {"aggregation": "mean", "higher_is_better": True}
_F1 = {"metric": "f1", "aggregation": "bypass", "higher_is_better": True}
_METRICS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(TASKS, ("acc",)),
    "hellaswag": ("acc", "acc_norm"),
}


def load_tasks(
    names: Sequence[KoBESTTask], *, data_dir: Path | None, num_fewshot: int
) -> dict[KoBESTTask, Any]:
    """The harness's tasks, ready to make requests.

    Args:
        names: Which.
        data_dir: Folder of the release's files; None fetches the data from the hub.
        num_fewshot: Examples before each question.

    Raises:
        ImportError: If the harness is not installed.
        EvaluationDataError: If the files are not those of the release.
    """
    try:
        from lm_eval import tasks as harness
    except ImportError as error:
        raise ImportError(
            "KoBEST needs lm-evaluation-harness; pip install 'kogemma-rag[eval]'"
        ) from error
    # Without the defaults, since reading those takes half a minute.
    folder = Path(str(harness.__file__)).parent / "kobest"
    manager = harness.TaskManager(include_path=folder, include_defaults=False)
    # A stock task takes other data only inside such a group. It is not handed on, since means
    # over it would be made of nothing.
    members = [
        {
            "task": f"kobest_{name}",
            "metric_list": [*({"metric": each, **_MEAN} for each in _METRICS[name]), _F1],
            **_source(name, data_dir),
        }
        for name in names
    ]
    loaded = manager.load([{"group": "kobest_here", "task": members}])["tasks"]
    tasks = {name: loaded[f"kobest_{name}"] for name in names}
    for task in tasks.values():
        task.set_config("num_fewshot", num_fewshot)
        task.set_fewshot_seed(FEWSHOT_SEED)
    return tasks


def _source(name: KoBESTTask, data_dir: Path | None) -> dict[str, Any]:
    if data_dir is None:
        return {}
    splits = read_task(data_dir, name)
    # In memory: nothing that a cache could remember, nothing that asks the hub.
    return {"custom_dataset": lambda **_: _in_memory(splits)}


def _in_memory(splits: Mapping[str, Rows]) -> Any:
    import datasets

    return datasets.DatasetDict(
        {split: datasets.Dataset.from_list(rows) for split, rows in splits.items()}
    )


@contextlib.contextmanager
def harness_output(*, progress: bool) -> Iterator[None]:
    """Keep the harness off stdout, let its progress bars through or not, hide its advice."""
    logger = logging.getLogger("lm_eval")
    level = logger.level
    with contextlib.ExitStack() as stack:
        stack.callback(logger.setLevel, level)
        logger.setLevel(logging.ERROR)
        sink = sys.stderr if progress else io.StringIO()
        stack.enter_context(contextlib.redirect_stdout(sink))
        stack.enter_context(contextlib.redirect_stderr(sink))
        yield


def describe_data(tasks: Mapping[KoBESTTask, Any], *, data_dir: Path | None) -> dict[str, Any]:
    """Where the data came from and how many rows each split has."""
    return {
        "source": HUB_DATA if data_dir is None else "files",
        "fingerprint": None if data_dir is None else fingerprint(data_dir, list(tasks)),
        "splits": {
            name: {split: len(rows) for split, rows in task.dataset.items()}
            for name, task in tasks.items()
        },
    }


def example(name: KoBESTTask, task: Any, number: int, row: Mapping[str, Any]) -> dict[str, Any]:
    """An example as a result has it, without what the model took.

    Args:
        name: Of the task.
        task: The harness's.
        number: Of the row in the test split, from 0.
        row: Of the test split.
    """
    choices = task.doc_to_choice(row)
    gold = task.doc_to_target(row)
    return {
        "id": f"{name}-{number + 1}",
        "task": name,
        "question": task.doc_to_text(row),
        "choices": choices,
        # COPA gives the text of the right choice, the others its number.
        "gold": gold if isinstance(gold, int) else choices.index(gold),
    }
