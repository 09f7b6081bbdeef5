"""An entry as an event of the Open Cybersecurity Schema Framework (1.3), which collectors of such events read.

The class says what kind of thing happened, by the action's subject; the whole entry rides along under `unmapped`, so
nothing is lost in translation. Used by the syslog copy and by `freehold audit export --form ocsf`.
"""

from typing import Any

from freehold.audit.events import Entry, Outcome, as_json

_CLASSES: dict[str, tuple[int, str]] = {
    **dict.fromkeys(("session", "factor", "credential", "claim"), (3002, "Authentication")),
    **dict.fromkeys(("person", "service", "invitation"), (3001, "Account Change")),
    **dict.fromkeys(("group",), (3006, "Group Management")),
    **dict.fromkeys(("key", "workspace", "provider", "scim", "limit", "engine", "model"), (3004, "Entity Management")),
    **dict.fromkeys(("exchange", "access", "conversation", "response", "answer"), (6003, "API Activity")),
    **dict.fromkeys(("guard",), (2006, "Data Security Finding")),
    **dict.fromkeys(("leakcheck", "pentest", "seal"), (2003, "Compliance Finding")),
}
_LIFECYCLE = (6002, "Application Lifecycle")
_BAD = frozenset({Outcome.REFUSED, Outcome.FAILED})


def event(entry: Entry, origin: str) -> dict[str, Any]:
    """The entry as OCSF has it. `origin` is the log's name."""
    subject, _, verb = entry.action.value.partition(":")
    number, name = _CLASSES.get(subject, _LIFECYCLE)
    bad = entry.outcome in _BAD or verb in ("refused", "blocked", "copy-refused", "checkpoint-missed")
    found: dict[str, Any] = {
        "category_uid": number // 1000,
        "class_uid": number,
        "class_name": name,
        "activity_id": 99,
        "activity_name": entry.action.value,
        "type_uid": number * 100 + 99,
        "time": entry.at,
        "severity_id": 3 if bad else 1,
        "status_id": 2 if bad else 1,
        "metadata": {
            "version": "1.3.0",
            "product": {"name": "Freehold", "vendor_name": "Freehold"},
            "log_name": origin,
            "uid": f"{entry.sequence}",
            "sequence": entry.sequence,
        },
        "unmapped": as_json(entry),
    }
    if entry.actor is not None:
        found["actor"] = {"user": {"uid": entry.actor}}
    return found
