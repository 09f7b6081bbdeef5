"""The one reader of configuration: `freehold.toml` in the state folder, `FREEHOLD_*` variables, command-line options.

Later sources win, in that order. Everything is frozen and closed (an unknown name is an error that lists the known
ones), and every value has a default under which Freehold starts. `Layout` says where things lie in the state folder;
no other module builds such a path. Secrets are files under `keys/` (mode 0600), read through `Layout.secret`.
"""

import hashlib
import os
import re
import secrets
import stat
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from annotated_types import Ge, Gt, Le

from freehold.protocol.errors import Misconfigured, Problem

Seconds = Annotated[float, Gt(0)]
Bytes = Annotated[int, Gt(0)]
Count = Annotated[int, Ge(0)]

_SOCKET_PATH_LIMIT = 107  # sizeof(sockaddr_un.sun_path) - 1 on Linux
_LONGEST_SOCKET = len("/runners/ws_0123456789abcdef-00/runner.sock")
_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")


class _Closed:
    """Plain data for the long-lived processes; pydantic checks it in `load`, and refuses names that are not here."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}


@dataclass(frozen=True)
class Tls(_Closed):
    """TLS at the edge. `certificate`/`key` name PEM files of a real certificate; without them a local CA signs one."""

    profile: Literal["modern", "intermediate"] = "modern"
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True)
class Edge(_Closed):
    """The reverse proxy: where it listens, for which names, and what it lets through."""

    bind: str = "127.0.0.1"
    port: Annotated[int, Ge(1), Le(65535)] = 8443
    domains: tuple[str, ...] = ()
    tls: Tls = field(default_factory=Tls)
    max_header_kib: Annotated[int, Ge(8), Le(96)] = 32
    max_body_bytes: Bytes = 4 << 20
    header_timeout: Seconds = 10
    body_timeout: Seconds = 60
    idle_timeout: Seconds = 300
    stream_timeout: Seconds = 3600
    max_connections: Annotated[int, Gt(0)] = 10_000
    max_heap_bytes: Bytes = 1 << 30


@dataclass(frozen=True)
class Gateway(_Closed):
    """The data plane's own bounds. `max_wait…`: how late an exchange may start, by its priority class."""

    workers: Annotated[int, Ge(1), Le(32)] = 1
    max_waiting: Count = 256
    max_waiting_bytes: Bytes = 64 << 20
    max_waiting_of_one: Count = 200
    max_wait: Seconds = 30
    max_wait_interactive: Seconds = 60
    max_wait_batch: Seconds = 600
    first_event_timeout: Seconds = 300
    idle_event_timeout: Seconds = 120
    max_messages: Annotated[int, Gt(0)] = 1000
    max_json_depth: Annotated[int, Ge(4), Le(64)] = 64
    max_tokens: Annotated[int, Gt(0)] = 4096

    def worker_of(self, workspace_id: str) -> int:
        """Which worker serves a workspace: always the same one, so that its line is one line."""
        return zlib.crc32(workspace_id.encode()) % self.workers


@dataclass(frozen=True)
class Limits(_Closed):
    """Where limits are remembered: `local` (a file that this machine's workers share), `memory` (one worker), or the
    URL of a Valkey or Redis server for replicas. `share`: the part of each limit that a replica grants by itself while
    that server is away; 0 refuses."""

    store: str = "local"
    share: Annotated[float, Ge(0), Le(1)] = 0


@dataclass(frozen=True)
class Audit(_Closed):
    """The tamper-evident log. `copies`: where a second copy of it goes, a folder or a URL each (docs/audit.md).
    `keep_days`: how long entries stay at least before `freehold audit prune` may take them; 0: no such rule."""

    copies: tuple[str, ...] = ()
    keep_days: Count = 0


@dataclass(frozen=True)
class Console(_Closed):
    """The web interface and admin API."""

    session_hours: Annotated[float, Gt(0)] = 24 * 7
    claim_hours: Annotated[float, Gt(0)] = 24 * 7


@dataclass(frozen=True)
class Runner(_Closed):
    """The boxes: which driver starts them and how much each may use. 0 means: chosen from the machine."""

    driver: Literal["sandbox", "process"] = "sandbox"
    context_tokens: Annotated[int, Ge(512)] = 4096
    slots: Annotated[int, Ge(1), Le(64)] = 2
    decode_threads: Count = 0
    batch_threads: Count = 0
    memory_bytes: Count = 0


@dataclass(frozen=True)
class Models(_Closed):
    """Which model `up` chooses and whether it may fetch one."""

    default: str = "auto"
    offline: bool = False


@dataclass(frozen=True)
class Settings(_Closed):
    """The whole configuration, read once by `load` and handed to every process as it is."""

    state: Path = Path("state")
    database: str = ""
    edge: Edge = field(default_factory=Edge)
    gateway: Gateway = field(default_factory=Gateway)
    limits: Limits = field(default_factory=Limits)
    audit: Audit = field(default_factory=Audit)
    console: Console = field(default_factory=Console)
    runner: Runner = field(default_factory=Runner)
    models: Models = field(default_factory=Models)

    @property
    def layout(self) -> "Layout":
        """Where things lie under `state`."""
        return Layout(self.state)

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL: the setting, or the SQLite file in the state folder."""
        return self.database or f"sqlite+aiosqlite:///{self.state / 'freehold.db'}"


@dataclass(frozen=True)
class Layout:
    """Paths under the state folder, and the few operations that make it safe (0700 folders, 0600 secrets)."""

    state: Path

    @property
    def keys(self) -> Path:
        """Secrets and private keys, 0700."""
        return self.state / "keys"

    @property
    def certificates(self) -> Path:
        """Public certificates; the edge watches this folder."""
        return self.state / "certificates"

    @property
    def models(self) -> Path:
        """The content-addressed model store."""
        return self.state / "models"

    @property
    def logs(self) -> Path:
        """One file per process."""
        return self.state / "logs"

    @property
    def edge(self) -> Path:
        """Rendered Envoy configuration."""
        return self.state / "edge"

    @property
    def run(self) -> Path:
        """Sockets and the running instance's facts. Elsewhere when the state's path is too long for a socket."""
        here = self.state / "run"
        if len(os.fsencode(here)) + _LONGEST_SOCKET <= _SOCKET_PATH_LIMIT:
            return here
        name = hashlib.sha256(os.fsencode(self.state)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"freehold-{os.getuid()}-{name}"

    @property
    def gateway_socket(self) -> Path:
        """Where the gateway's first worker listens."""
        return self.gateway_socket_of(0)

    def gateway_socket_of(self, worker: int) -> Path:
        """Where a worker of the gateway listens."""
        return self.run / (f"gateway-{worker}.sock" if worker else "gateway.sock")

    @property
    def console_socket(self) -> Path:
        """Where the console listens."""
        return self.run / "console.sock"

    @property
    def control_socket(self) -> Path:
        """Where the supervisor listens for the command line."""
        return self.run / "control.sock"

    @property
    def envoy_admin_socket(self) -> Path:
        """Envoy's admin interface."""
        return self.run / "envoy.sock"

    @property
    def edge_bootstrap(self) -> Path:
        """What the edge's Envoy starts from."""
        return self.edge / "bootstrap.json"

    @property
    def relay_bootstrap(self) -> Path:
        """What the egress relay's Envoy starts from."""
        return self.edge / "relay-bootstrap.json"

    @property
    def relay_admin_socket(self) -> Path:
        """The relay's admin interface."""
        return self.run / "relay.sock"

    @property
    def egress(self) -> Path:
        """The egress relay's sockets, one folder a workspace."""
        return self.run / "egress"

    @property
    def identity_relay(self) -> Path:
        """Where the console finds the egress relay's way to sign-in providers. No box contains its folder."""
        return self.egress / "identity" / "relay.sock"

    @property
    def runners(self) -> Path:
        """One folder a runner, with its socket."""
        return self.run / "runners"

    @property
    def pool_file(self) -> Path:
        """The live runners of each workspace, written by the supervisor, watched by the gateway."""
        return self.run / "pools.json"

    @property
    def audit(self) -> Path:
        """The tamper-evident log: tiles, journal, checkpoint."""
        return self.state / "audit"

    @property
    def limits_file(self) -> Path:
        """What the local store of limits remembers; it outlives restarts."""
        return self.state / "limits"

    @property
    def changes_file(self) -> Path:
        """The newest change of engines, workspaces or providers, written by the gateway, watched by the supervisor."""
        return self.run / "changes"

    def load_file(self, worker: int) -> Path:
        """How the lines before the runners are, written by each worker of the gateway once a second."""
        return self.run / f"load-{worker}.json"

    @property
    def instance_file(self) -> Path:
        """Facts of the running instance (url, process id), written by the supervisor."""
        return self.run / "instance.json"

    def create(self) -> None:
        """Make the folders, 0700. Raises Misconfigured when one cannot be made, is not ours, or is open to others."""
        os.umask(0o077)
        for path in (
            self.state,
            self.keys,
            self.certificates,
            self.models,
            self.logs,
            self.audit,
            self.edge,
            self.run,
            self.egress,
            self.runners,
        ):
            try:
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
                info = path.lstat()
                if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid():
                    raise Misconfigured(
                        Problem(
                            f"{path} is not a folder that belongs to this user", "Choose another folder with --state."
                        )
                    )
                if info.st_mode & 0o077:
                    path.chmod(0o700)
                probe = path / ".write-test"
                probe.touch()
                probe.unlink()
            except OSError as error:
                raise Misconfigured(
                    Problem(
                        f"the state folder {path} cannot be written: {error.strerror}",
                        "Make it writable for this user, free space on its disk, or choose another with --state.",
                    )
                ) from None

    def secret(self, name: str) -> bytes:
        """32 random bytes kept in `keys/NAME.key`, made on first use. Raises Misconfigured when the file is damaged."""
        path = self.keys / f"{name}.key"
        try:
            value = path.read_bytes()
        except FileNotFoundError:
            value = secrets.token_bytes(32)
            write_private(path, value)
        except OSError as error:
            raise Misconfigured(
                Problem(f"{path} cannot be read: {error.strerror}", "Restore it from a backup.")
            ) from None
        if len(value) != 32:
            raise Misconfigured(
                Problem(f"{path} is damaged", "Restore it from a backup; without it no API key is valid.")
            )
        return value


def write_private(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write a file whole or not at all: a new file beside it, synced, then renamed over it."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def load(state: Path | None = None, **overrides: Any) -> Settings:
    """Read the configuration. `overrides` are whole or nested values from the command line; None values are dropped.

    Raises Misconfigured with one problem for each wrong value.
    """
    folder = Path(state or os.environ.get("FREEHOLD_STATE") or "state").expanduser().resolve()
    file = folder / "freehold.toml"
    from pydantic import ValidationError  # only here: no long-lived process of ours needs it

    try:
        settings = _gather(file, _drop_none({"state": folder, **overrides}))
    except ValidationError as error:
        raise Misconfigured(
            *(_problem(dict(item)) for item in error.errors(include_url=False, include_input=False))
        ) from None
    except (OSError, ValueError) as error:
        raise Misconfigured(Problem(f"{file} cannot be read: {error}", "Correct the file.")) from None
    if wrong := [name for name in settings.edge.domains if not _HOST_NAME.fullmatch(name)]:
        raise Misconfigured(
            *(Problem(f"{name} is not a host name", "Correct edge.domains or --domain.") for name in wrong)
        )
    domains = tuple(name.lower() for name in settings.edge.domains)
    return replace(settings, edge=replace(settings.edge, domains=domains))


def dump(settings: Settings) -> bytes:
    """The configuration as JSON, for a child process; `parse` reads it back."""
    return msgspec.json.encode(settings, enc_hook=os.fspath)


def parse(data: bytes) -> Settings:
    """The configuration that a parent handed over. Reads no file and no environment."""
    return msgspec.json.decode(data, type=Settings, dec_hook=lambda kind, value: kind(value))


def _gather(file: Path, options: dict[str, Any]) -> Settings:
    """Options first, then the environment, then the file. Raises pydantic's ValidationError, ValueError, OSError."""
    from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

    class Sources(BaseSettings):
        model_config = SettingsConfigDict(extra="forbid", env_prefix="FREEHOLD_", env_nested_delimiter="__")
        state: Path
        database: str = ""
        edge: Edge = Edge()
        gateway: Gateway = Gateway()
        limits: Limits = Limits()
        audit: Audit = Audit()
        console: Console = Console()
        runner: Runner = Runner()
        models: Models = Models()

        @classmethod
        def settings_customise_sources(  # type: ignore[override]
            cls, settings_cls: Any, init_settings: Any, **_: Any
        ) -> Any:
            return (
                init_settings,
                EnvSettingsSource(settings_cls),
                TomlConfigSettingsSource(settings_cls, file if file.is_file() else None),
            )

    found = Sources(**options)
    return Settings(**{name: getattr(found, name) for name in Sources.model_fields})


def _drop_none(values: Mapping[str, Any]) -> dict[str, Any]:
    kept = {k: _drop_none(v) if isinstance(v, Mapping) else v for k, v in values.items()}
    return {k: v for k, v in kept.items() if v is not None and v != {}}


def _problem(item: dict[str, Any]) -> Problem:
    where = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return Problem(f"unknown setting {where}", "Remove it, or look up its name in docs/settings.md.")
    return Problem(
        f"setting {where}: {item['msg']}", "Correct it in freehold.toml, the environment or the command line."
    )
