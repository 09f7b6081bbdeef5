"""`python -I -m freehold.runner`: one JSON configuration on standard input, until its end; then serve.

Exit codes: 0 stopped when asked; 69 an engine cannot be used; 70 a fault of ours; 78 the configuration is not one.
"""

import os
import sys

import msgspec

from freehold.runner.config import decode
from freehold.runner.log import Log, What

_CALLS_HOME = ("LANGSMITH_", "LANGCHAIN_")
_EXIT_CONFIGURATION = 78
_CONFIGURATION_LIMIT = 1 << 20


def main() -> int:
    """Read, decode, serve."""
    for name in [name for name in os.environ if name.startswith(_CALLS_HOME)]:
        del os.environ[name]
    # libgomp reads these once, when it is loaded. Without spinning a quiet machine reads a prompt a sixth slower, and
    # one whose cores are all busy a sixth faster.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    log = Log()
    log.note(What.STARTING)
    try:
        config = decode(sys.stdin.buffer.read(_CONFIGURATION_LIMIT))
    except msgspec.DecodeError as error:
        log.note(What.BAD_CONFIGURATION, error=type(error).__name__)
        return _EXIT_CONFIGURATION
    from freehold.runner.serve import serve

    return serve(config, log)


if __name__ == "__main__":
    sys.exit(main())
