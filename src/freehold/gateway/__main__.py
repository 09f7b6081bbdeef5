"""`python -m freehold.gateway`: reads the settings as JSON on standard input, serves on the gateway's socket."""

from freehold.gateway.app import Gateway
from freehold.serving.listen import serve_child

serve_child(Gateway, lambda layout: layout.gateway_socket)
