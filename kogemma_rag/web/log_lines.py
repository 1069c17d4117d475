"""Log records in, a line of JSON each out; without what errors say, which may be a document's."""

import json
import logging
import sys
from datetime import datetime, timezone
from traceback import extract_tb


class JsonFormatter(logging.Formatter):
    """Time, level, logger, message and the record's `fields`; an exception by type and place."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line."""
        failed = record.exc_info and record.exc_info[1]
        message = record.getMessage()
        line = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            # asyncio adds the error itself in further lines.
            "message": message.partition("\n")[0] if failed else message,
            **getattr(record, "fields", {}),
        }
        if failed:
            line |= failure_fields(failed)
        return json.dumps(line, ensure_ascii=False)


def failure_fields(error: BaseException) -> dict[str, object]:
    """The error's type and the last places that it passed."""
    frames = [f"{frame.name}:{frame.lineno}" for frame in extract_tb(error.__traceback__)[-8:]]
    return {"error": type(error).__name__, "frames": frames}


def log_to_stderr() -> None:
    """Write what this process logs to stderr; called by the command that is the process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in ("httpx", "httpx2", "httpcore", "httpcore2", "openai"):  # they log addresses
        logging.getLogger(name).setLevel(logging.WARNING)
