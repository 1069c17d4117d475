"""What the two ends of the sandbox share: frames of JSON over a pipe, and the limits.

A frame is its length as four bytes, big-endian, and JSON. Knows no file and no process.
"""

import json
from typing import IO, Any

# Seconds without a new document after which the worker gives up on a file, and itself; as many for
# all of a small file.
TIME_LIMIT = 30.0
# Bytes of address space for the parsers.
MEMORY_LIMIT = 2**30


def read_frame(stream: IO[bytes]) -> dict[str, Any] | None:
    """The next message; None at the end of the stream or where it is no frame."""
    head = stream.read(4)
    length = int.from_bytes(head, "big")
    if len(head) < 4 or length > MEMORY_LIMIT:
        return None
    body = stream.read(length)
    if len(body) < length:
        return None
    message: dict[str, Any] = json.loads(body)
    return message


def write_frame(stream: IO[bytes], message: dict[str, Any]) -> None:
    """Send one message."""
    body = json.dumps(message).encode("ascii")
    stream.write(len(body).to_bytes(4, "big") + body)
    stream.flush()
