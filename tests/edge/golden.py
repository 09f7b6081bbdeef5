"""The rendered configuration that the golden files hold. To renew them: `python -m tests.edge.golden`, then read the
difference before it is committed.
"""

import datetime
from pathlib import Path

from freehold.edge import config, relay
from freehold.edge.certificates import Certificate
from freehold.edge.identity import SignIn
from freehold.edge.names import Names
from freehold.edge.sites import Site
from freehold.settings import Edge, Layout, Tls

FOLDER = Path(__file__).with_name("golden")
LAYOUT = Layout(Path("/srv/freehold/state"))
NAMES = Names(("ai.example.org", "box", "localhost"), ("127.0.0.1", "192.0.2.7", "::1"))
CERTIFICATE = Certificate(
    LAYOUT.certificates / "leaf-0123456789abcdef.pem",
    LAYOUT.keys / "leaf-0123456789abcdef.pem",
    datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC),
    own=True,
)
MODERN = Edge(domains=("ai.example.org",))
INTERMEDIATE = Edge(bind="::", port=443, tls=Tls(profile="intermediate"))
ACME = Site(
    "ws_acme",
    "acme.example",
    Certificate(
        LAYOUT.certificates / "ws_acme" / "leaf-fedcba9876543210.pem",
        LAYOUT.keys / "ws_acme" / "leaf-fedcba9876543210.pem",
        datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC),
        own=False,
    ),
)
ENGINES = {
    "ws_alpha": (
        relay.OutsideEngine("cloud", "https://models.example.com/openai/v1", LAYOUT.keys / "engine-cloud.key"),
        relay.OutsideEngine("ollama", "http://127.0.0.1:11434/v1"),
    ),
    "ws_beta": (),
}

PROVIDERS = (
    SignIn(
        "staff",
        (
            ("GET", "https://login.example.com/realms/staff/.well-known/openid-configuration"),
            ("GET", "https://keys.example.com/staff/keys?p=policy"),
            ("POST", "https://login.example.com/realms/staff/token"),
            ("GET", "https://login.example.com/realms/staff/userinfo"),
        ),
    ),
    SignIn("own", (("GET", "https://192.0.2.30/keys"), ("POST", "https://192.0.2.30/token")), "PEM of the own CA"),
    SignIn("dev", (("GET", "http://127.0.0.1:9000/keys"),)),
)


def rendered() -> dict[str, str]:
    """Golden file name → what the code renders now."""
    keys = {route.id: "sk-golden" for route in relay.routes_of(ENGINES) if route.engine.authorization}
    return {
        **{f"modern-{n}": t for n, t in config.render(MODERN, LAYOUT, NAMES, CERTIFICATE, [ACME]).items()},
        **{f"intermediate-{n}": t for n, t in config.render(INTERMEDIATE, LAYOUT, Names(), CERTIFICATE).items()},
        **relay.render(LAYOUT, ENGINES, keys, Path("/etc/ssl/certs/ca-certificates.crt"), PROVIDERS),
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for stale in FOLDER.glob("*.json"):
        stale.unlink()
    for name, content in rendered().items():
        (FOLDER / name).write_text(content)
