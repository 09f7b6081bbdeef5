"""What the log may say: a closed vocabulary of actions and one closed set of typed fields. Every room records by it.

There is no free text. A field is an id that we made at random, a word of a closed list, a count, a time, or a
`KeyedHash` of what could be guessed (an address, an e-mail, a name). A prompt, an answer, a document or a secret has
no field to go into; what is not of its field's form is refused when it is recorded. A test holds all of this.
"""

import base64
import hmac
import re
from collections.abc import Callable
from enum import StrEnum
from hashlib import sha256
from typing import Any, NewType

import msgspec

Id = NewType("Id", str)
"""An id of ours, as `protocol.ids.new_id` makes it; a runner's has the number of its place behind it."""

KeyedHash = NewType("KeyedHash", str)
"""What `Keyed.hash` makes of a value that could be guessed: the same for the same, and nothing without the key."""

Digest = NewType("Digest", str)
"""SHA-256 in hexadecimal, of something that is not a secret and not a person's: a policy, a model, a report, a root;
or of a payload beside the tree, which is salted."""

_FORMS: dict[str, Callable[[str], object]] = {
    "Id": re.compile(r"[a-z]{1,8}_[A-Za-z0-9_-]{16}(?:-[0-9]{2,9})?", re.ASCII).fullmatch,
    "KeyedHash": re.compile(r"kh_[A-Za-z0-9_-]{22}", re.ASCII).fullmatch,
    "Digest": re.compile(r"[0-9a-f]{64}", re.ASCII).fullmatch,
}
_MOST = 1 << 53  # what JSON readers hold exactly


class Action(StrEnum):
    """`subject:action`. What each means is in docs/audit.md."""

    EXCHANGE_INTENT = "exchange:intent"
    EXCHANGE_OUTCOME = "exchange:outcome"
    SESSION_OPEN = "session:open"
    SESSION_END = "session:end"
    SESSION_REFUSED = "session:refused"
    CREDENTIAL_REFUSED = "credential:refused"
    ACCESS_REFUSED = "access:refused"
    KEY_CREATE = "key:create"
    KEY_REVOKE = "key:revoke"
    PERSON_INVITE = "person:invite"
    PERSON_JOIN = "person:join"
    PERSON_CHANGE = "person:change"
    PERSON_ROLE = "person:role"
    PERSON_DISABLE = "person:disable"
    PERSON_ENABLE = "person:enable"
    PERSON_REMOVE = "person:remove"
    PERSON_ERASE = "person:erase"
    PERSON_EXPORT = "person:export"
    INVITATION_REVOKE = "invitation:revoke"
    CLAIM_CREATE = "claim:create"
    CLAIM_USE = "claim:use"
    FACTOR_PASSWORD = "factor:password"  # noqa: S105 - the name of an action
    FACTOR_ADD = "factor:add"
    FACTOR_REMOVE = "factor:remove"
    FACTOR_USE_RECOVERY = "factor:recovery"
    FACTOR_REFUSED = "factor:refused"
    GROUP_CREATE = "group:create"
    GROUP_CHANGE = "group:change"
    GROUP_REMOVE = "group:remove"
    GROUP_JOIN = "group:join"
    GROUP_LEAVE = "group:leave"
    SERVICE_CREATE = "service:create"
    SERVICE_REMOVE = "service:remove"
    WORKSPACE_CREATE = "workspace:create"
    WORKSPACE_CHANGE = "workspace:change"
    WORKSPACE_DOMAIN = "workspace:domain"
    WORKSPACE_REMOVE = "workspace:remove"
    PROVIDER_CREATE = "provider:create"
    PROVIDER_CHANGE = "provider:change"
    PROVIDER_ENABLE = "provider:enable"
    PROVIDER_DISABLE = "provider:disable"
    PROVIDER_REMOVE = "provider:remove"
    PROVIDER_LOGOUT = "provider:logout"
    SCIM_CLIENT_CREATE = "scim:create"
    SCIM_CLIENT_REVOKE = "scim:revoke"
    SCIM_CHANGE = "scim:change"
    LIMIT_SET = "limit:set"
    LIMIT_REMOVE = "limit:remove"
    LIMIT_REACHED = "limit:reached"
    ENGINE_CREATE = "engine:create"
    ENGINE_CHANGE = "engine:change"
    ENGINE_REMOVE = "engine:remove"
    MODEL_INSTALL = "model:install"
    MODEL_REMOVE = "model:remove"
    MODEL_REFUSED = "model:refused"
    CONVERSATION_REMOVE = "conversation:remove"
    RESPONSE_REMOVE = "response:remove"
    ANSWER_APPROVE = "answer:approve"
    ANSWER_WITHDRAW = "answer:withdraw"
    RUNNER_START = "runner:start"
    RUNNER_END = "runner:end"
    SEAL_PROBE = "seal:probe"
    INSTANCE_START = "instance:start"
    INSTANCE_STOP = "instance:stop"
    INSTANCE_SETTINGS = "instance:settings"
    CLOCK_JUMP = "clock:jump"
    GUARD_BLOCKED = "guard:blocked"
    GUARD_MASKED = "guard:masked"
    GUARD_FLAGGED = "guard:flagged"
    GUARD_POLICY = "guard:policy"
    LEAKCHECK_RUN = "leakcheck:run"
    PENTEST_RUN = "pentest:run"
    BACKUP_MAKE = "backup:make"
    BACKUP_REFUSED = "backup:refused"
    RESTORE_MAKE = "restore:make"
    RELEASE_CHANGE = "release:change"
    AUDIT_EXPORT = "audit:export"
    AUDIT_PRUNE_ASKED = "audit:prune-asked"
    AUDIT_PRUNE = "audit:prune"
    AUDIT_CHECKPOINT_MISSED = "audit:checkpoint-missed"
    AUDIT_NOTES_LOST = "audit:notes-lost"
    AUDIT_TAIL_CUT = "audit:tail-cut"
    AUDIT_MENDED = "audit:mended"
    AUDIT_COPY_REFUSED = "audit:copy-refused"
    AUDIT_VERIFY = "audit:verify"


class Outcome(StrEnum):
    """How it went."""

    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"
    CANCELLED = "cancelled"
    CUT = "cut"  # ended by a limit
    SERVED = "served"  # a known answer, no engine asked


class By(StrEnum):
    """Through which door it was done."""

    API = "api"
    PAGE = "page"
    COMMAND = "command"
    SCIM = "scim"
    PROVIDER = "provider"
    SYSTEM = "system"


class Reason(StrEnum):
    """Why it was refused, failed or done."""

    CREDENTIAL = "credential"
    EXPIRED = "expired"
    REVOKED = "revoked"
    PASSWORD = "password"  # noqa: S105
    FACTOR = "factor"
    THROTTLED = "throttled"
    DISABLED = "disabled"
    PERMISSION = "permission"
    SCOPE = "scope"
    SOURCE = "source"
    WORKSPACE = "workspace"
    LIMIT = "limit"
    FULL = "full"
    LATE = "late"
    INPUT = "input"
    GUARD = "guard"
    ENGINE = "engine"
    RUNNER = "runner"
    STORAGE = "storage"
    AUDIT = "audit"
    LEFT = "left"
    TIMEOUT = "timeout"
    INTERNAL = "internal"
    SIGN_OUT = "sign-out"
    ASKED = "asked"
    RETENTION = "retention"


class Method(StrEnum):
    """How an identity was proved, or which factor is meant."""

    PASSWORD = "password"  # noqa: S105
    TOTP = "totp"
    PASSKEY = "passkey"
    RECOVERY = "recovery"
    OIDC = "oidc"
    CLAIM = "claim"
    KEY = "key"
    TOKEN = "token"  # noqa: S105
    SESSION = "session"


class Role(StrEnum):
    """A person's part in a workspace."""

    OWNER = "owner"
    ADMIN = "admin"
    REVIEWER = "reviewer"
    MEMBER = "member"
    AUDITOR = "auditor"
    SERVICE = "service"


class Kind(StrEnum):
    """What a subject is, where its id does not say it: a limit's subject, an exchange's endpoint, a copy's place."""

    WORKSPACE = "workspace"
    GROUP = "group"
    USER = "user"
    KEY = "key"
    ASSISTANT = "assistant"
    ADDRESS = "address"
    CHAT = "chat"
    RESPONSES = "responses"
    MESSAGES = "messages"
    EMBEDDINGS = "embeddings"
    FOLDER = "folder"
    BUCKET = "bucket"
    SYSLOG = "syslog"


class Direction(StrEnum):
    """Which way the text went in which the guard found something."""

    INPUT = "input"
    OUTPUT = "output"
    TOOL = "tool"
    FILE = "file"
    LOG = "log"


class Finding(StrEnum):
    """The class of what the guard found; never what it found."""

    SECRET = "secret"  # noqa: S105
    CARD = "card"
    BANK = "bank"
    PHONE = "phone"
    EMAIL = "email"
    NATIONAL_ID = "national-id"
    PASSPORT = "passport"
    NETWORK = "network"
    ADDRESS = "address"
    NAME = "name"
    BIRTH = "birth"
    CUSTOM = "custom"
    REGISTERED = "registered"
    CANARY = "canary"


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that happened. Sequence and time are the log's to give; a field that says nothing is left out."""

    action: Action
    workspace: Id | None = None
    actor: Id | None = None  # who did it: person, service, or a key of the workspace
    credential: Id | None = None
    subject: Id | None = None  # what it was done to
    other: Id | None = None  # the second person, the group that somebody joined
    exchange: Id | None = None
    engine: Id | None = None
    runner: Id | None = None
    by: By | None = None
    outcome: Outcome | None = None
    reason: Reason | None = None
    method: Method | None = None
    role: Role | None = None
    role_before: Role | None = None
    kind: Kind | None = None
    direction: Direction | None = None
    finding: Finding | None = None
    address: KeyedHash | None = None
    email: KeyedHash | None = None
    name: KeyedHash | None = None
    domain: KeyedHash | None = None
    digest: Digest | None = None
    payload: Digest | None = None  # see payload.py
    status: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    count: int | None = None
    failures: int | None = None
    size: int | None = None
    first: int | None = None  # a range of entries: first …
    end: int | None = None  # … and the one after the last
    milliseconds: int | None = None  # a duration, or how far a clock jumped (may be negative)
    uid: int | None = None  # the operating system's user who typed a command
    other_uid: int | None = None
    process: int | None = None


class Entry(Event, frozen=True, kw_only=True, omit_defaults=True):
    """An event with its place in the log, as reading gives it. `at`: milliseconds since 1970 (UTC)."""

    sequence: int
    at: int


_PREFIX = b'{"sequence":%d,"at":%d,'
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Entry)
_CHECKED = tuple(
    (field.name, _FORMS[form])
    for field in msgspec.structs.fields(Event)
    for form in _FORMS
    if form in str(Event.__annotations__[field.name])
)
_NUMBERS = tuple(f.name for f in msgspec.structs.fields(Event) if "int" in str(Event.__annotations__[f.name]))
_WORDS = tuple(
    (f.name, kind)
    for f in msgspec.structs.fields(Event)
    for kind in (Action, By, Outcome, Reason, Method, Role, Kind, Direction, Finding)
    if kind in getattr(f.type, "__args__", (f.type,))
)


def encode(event: Event) -> bytes:
    """The event without its place. Raises ValueError, quoting nothing, when a field is not of its form."""
    for name, form in _CHECKED:
        value = getattr(event, name)
        if value is not None and not (type(value) is str and form(value)):
            raise ValueError(f"audit event: {name} is not of its form")
    for name in _NUMBERS:
        value = getattr(event, name)
        if value is not None and not (type(value) is int and -_MOST < value < _MOST):
            raise ValueError(f"audit event: {name} is not a number")
    for name, kind in _WORDS:
        value = getattr(event, name)
        if value is not None and type(value) is not kind:
            raise ValueError(f"audit event: {name} is not a word of its list")
    return _encoder.encode(event)


def placed(body: bytes, sequence: int, at: int) -> bytes:
    """The entry: what is hashed. Canonical JSON: fields in the order of `Event`, no spaces, nothing that is empty."""
    return _PREFIX % (sequence, at) + body[1:]


def decode(entry: bytes) -> Entry:
    """An entry read again. Raises msgspec.ValidationError or DecodeError for what is none."""
    return _decoder.decode(entry)


def is_canonical(entry: bytes) -> bool:
    """Whether these bytes are what we would write for what they say."""
    try:
        found = decode(entry)
        event = Event(**{name: getattr(found, name) for name in Event.__struct_fields__})
        return placed(encode(event), found.sequence, found.at) == entry
    except (msgspec.DecodeError, ValueError):
        return False


class Keyed:
    """Makes keyed hashes. `key` is the installation's (`layout.secret("audit-hash")`)."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def hash(self, field: str, value: str) -> KeyedHash:
        """The hash of a value (letters' case and outer spaces aside) for a field such as `email`, or `address`."""
        text = f"{field}\n{value.strip().casefold()}".encode("utf-8", "surrogatepass")
        mac = hmac.digest(self._key, text, sha256)[:16]
        return KeyedHash("kh_" + base64.urlsafe_b64encode(mac).decode().rstrip("="))


def as_json(entry: Entry) -> dict[str, Any]:
    """An entry for people and programs."""
    found: dict[str, Any] = msgspec.to_builtins(entry)
    return {"sequence": entry.sequence, "at": entry.at, **{k: v for k, v in found.items() if v is not None}}
