"""The command line: arguments in, Korean text or JSON out.

Results go to stdout, notices and errors to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage.
Knows nothing of how documents are read, found or answered from.
"""

import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from kogemma_rag.cli import (  # noqa: F401 - add their commands
    document_commands,
    evaluation_commands,
    index_commands,
    kobest_commands,
    question_commands,
    question_making_commands,
    serve_commands,
)
from kogemma_rag.cli.app import app, current_settings, describe_error
from kogemma_rag.terminal import accept_any_encoding, notify

__all__ = ["app", "main"]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    Args:
        arguments: Without the program's name; those of the process when not given.
    """
    accept_any_encoding()
    try:
        app(arguments, prog_name="kogemma-rag")
    except Exception as error:  # noqa: BLE001 - the outer edge: errors end as sentences here
        settings = current_settings.get(None)
        if settings is not None and settings.debug:
            traceback.print_exc()
        notify(f"오류: {describe_error(error)}")
    sys.exit(1)
