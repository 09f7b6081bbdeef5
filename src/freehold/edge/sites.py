"""The workspaces that have a domain of their own, as the edge sees them: a name, a certificate, a place in the routes.

`prepare` makes one `Site` for each from the database; `config` renders them. A site's certificate lies in a folder of
its own and is the operator's when a pair was given to `freehold workspace create`, else a leaf of the local CA.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from freehold.edge.certificates import Certificate, ensure
from freehold.edge.names import only
from freehold.settings import Edge, Layout, Tls

_CHAIN, _KEY = "given.pem", "given-key.pem"


@dataclass(frozen=True)
class Site:
    """A workspace's domain and the certificate that it shows. `id` is the workspace's, `worker` the gateway's that
    serves it."""

    id: str
    domain: str
    certificate: Certificate
    worker: int = 0


def given(layout: Layout, workspace_id: str) -> tuple[Path, Path]:
    """Where the operator's chain and key for a workspace lie, if there are any."""
    return layout.certificates / workspace_id / _CHAIN, layout.keys / workspace_id / _KEY


def site(edge: Edge, layout: Layout, workspace_id: str, domain: str, *, worker: int = 0) -> Site:
    """The site of a workspace, its certificate made or renewed when needed. Raises Misconfigured."""
    chain, key = given(layout, workspace_id)
    for folder in (chain.parent, key.parent):
        folder.mkdir(mode=0o700, exist_ok=True)
    pair = Tls(edge.tls.profile, chain, key) if chain.exists() else Tls(edge.tls.profile)
    own = replace(edge, domains=(domain,), tls=pair)
    return Site(workspace_id, domain, ensure(own, layout, only(domain), folder=workspace_id), worker)
