"""How our ASGI processes serve: listening on a Unix socket, and one call with its answer."""
