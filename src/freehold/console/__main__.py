"""`python -m freehold.console`: reads the settings as JSON on standard input, serves on the console's socket."""

from freehold.console.app import Console
from freehold.serving.listen import serve_child

serve_child(Console, lambda layout: layout.console_socket)
