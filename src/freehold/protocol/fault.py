"""How a process writes down that something of its own went wrong: a JSON line with names of our code, no data.

Called at the rims (the ASGI apps, the runner's server). Exception messages and arguments can quote what a person
wrote, so only class names and the innermost places in our own code are kept.
"""

import json
import sys
import time
import traceback


def log_fault(process: str, exchange_id: str, error: BaseException) -> None:
    """One line on standard error: when, where, which exception classes; nothing that came from outside."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [
        f"{frame.filename.rpartition('/freehold/')[2]}:{frame.lineno}"
        for frame in frames
        if "/freehold/" in frame.filename
    ]
    line = {
        "time": round(time.time(), 3),
        "event": "fault",
        "process": process,
        "exchange": exchange_id,
        "error": type(error).__name__,
        "cause": type(error.__cause__).__name__ if error.__cause__ else None,
        "at": places[-3:],
    }
    sys.stderr.write(json.dumps(line) + "\n")
    sys.stderr.flush()
