"""The control plane: the web page, sign-in, conversations, keys. To the gateway it is a client like any other."""

from pathlib import Path

STATIC = Path(__file__).parent / "static"
"""The built web interface (`make web`)."""
