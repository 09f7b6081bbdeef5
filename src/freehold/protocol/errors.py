"""The error tree, grouped by who must act, and its one JSON shape.

    FreeholdError
    ├── Refused        the caller must change something      400 401 403 404 405 409 413 415 429
    ├── Unavailable    the operator must change something    502 503 504
    └── Misconfigured  at start-up only, exit code 78; lists every problem with its remedy at once

Rooms raise these; the ASGI rims render them with `error_body`. Messages are fixed texts chosen by us: they never carry
what the caller sent (BAR-7) nor anything of the inside (BAR-8).
"""

from dataclasses import dataclass
from typing import Any

import msgspec


class FreeholdError(Exception):
    """Base of everything that Freehold raises on purpose."""


class _Answerable(FreeholdError):
    """An error that a client is told about."""

    status = 500
    type = "server_error"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        param: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status or self.status
        self.code = code
        self.param = param
        self.retry_after = retry_after


class Refused(_Answerable):
    """The caller must act. `status` is a 4xx; `code` is a stable word that programs may switch on."""

    status = 400

    @property
    def type(self) -> str:  # type: ignore[override]
        """The OpenAI error type for this status."""
        return {
            401: "authentication_error",
            403: "permission_error",
            404: "not_found_error",
            429: "rate_limit_error",
        }.get(self.status, "invalid_request_error")


class Unavailable(_Answerable):
    """The operator must act (or time must pass). `status` is 502, 503 or 504."""

    status = 503
    type = "server_error"


@dataclass(frozen=True)
class Problem:
    """One thing wrong with the installation, and what the operator does about it."""

    what: str
    remedy: str


class Misconfigured(FreeholdError):
    """Freehold cannot start as it is set up. Raised before anything serves; the CLI exits with 78 (EX_CONFIG)."""

    exit_code = 78

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(p.what for p in problems))
        self.problems = problems


def error_object(error: Refused | Unavailable, request_id: str) -> dict[str, Any]:
    """The shape that OpenAI clients parse, plus the exchange id under which the operator finds the case."""
    return {
        "error": {
            "message": error.message,
            "type": error.type,
            "param": error.param,
            "code": error.code,
            "request_id": request_id,
        }
    }


def error_body(error: Refused | Unavailable, request_id: str) -> bytes:
    """`error_object` as JSON bytes."""
    return msgspec.json.encode(error_object(error, request_id))
