"""The data plane: runs exchanges. Stateless between requests but for caches; no admin route, no way to start a box."""
