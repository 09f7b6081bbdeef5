"""What Envoy says when it answers by itself: fixed texts in the one error shape, the same headers as everything else.

Nothing of the request and nothing of the inside is in them (BAR-7, BAR-8); the only thing that differs between two
answers of one status is the request's id. Used by `connection` and by the relay.
"""

from collections.abc import Mapping

from freehold.edge.envoy import Message
from freehold.protocol.errors import Refused, Unavailable, error_body

_ID = "%STREAM_ID%"
_RETRY_AFTER = "2"

_REFUSED = {
    400: ("bad_request", "The request is not one that this server understands."),
    401: ("unauthorized", "Sign in first."),
    403: ("forbidden", "This is not allowed."),
    404: ("not_found", "There is nothing here."),
    405: ("method_not_allowed", "This method is not offered here."),
    408: ("request_timeout", "The request took too long to arrive."),
    413: ("body_too_large", "The request body is too large."),
    415: ("unsupported_encoding", "Send the request body without a content encoding."),
    421: ("misdirected_request", "This server does not answer for that name."),
    426: ("upgrade_required", "This protocol version is not offered."),
    429: ("too_many_requests", "Too many requests. Try again later."),
    431: ("headers_too_large", "The request's headers are too large."),
}
_UNAVAILABLE = {
    500: ("internal_error", "Something went wrong. If it lasts, tell your administrator."),
    502: ("bad_gateway", "The service did not answer properly. Try again; if it lasts, tell your administrator."),
    503: ("unavailable", "The service is not available right now. Try again in a moment."),
    504: ("timeout", "The service did not answer in time. Try again; if it lasts, tell your administrator."),
}


def own_answers(headers: Mapping[str, str]) -> Message:
    """A `local_reply_config`: one mapper for each status, and one for whatever is left. All say `headers`."""
    mappers = [
        _mapper(headers, status, _body(Refused(words, status=status, code=code)))
        for status, (code, words) in _REFUSED.items()
    ]
    mappers += [
        _mapper(headers, status, _body(Unavailable(words, status=status, code=code)))
        for status, (code, words) in _UNAVAILABLE.items()
    ]
    words = _UNAVAILABLE[500]
    rest = _mapper(headers, 0, _body(Unavailable(words[1], status=500, code=words[0])), "GE")
    return {"mappers": [*mappers, rest]}


def _body(error: Refused | Unavailable) -> str:
    marker = "request-id-goes-here"
    return error_body(error, marker).decode().replace("%", "%%").replace(marker, _ID) + "\n"


def _mapper(headers: Mapping[str, str], status: int, body: str, comparison: str = "EQ") -> Message:
    said = {**headers, "x-request-id": _ID}
    if status in (429, 503):
        said["retry-after"] = _RETRY_AFTER
    value = {"default_value": status, "runtime_key": "freehold.own_answer"}
    return {
        "filter": {"status_code_filter": {"comparison": {"op": comparison, "value": value}}},
        "body_format_override": {
            "text_format_source": {"inline_string": body},
            "content_type": "application/json",
        },
        "headers_to_add": [say(name, value) for name, value in said.items()],
    }


def say(name: str, value: str, action: str = "OVERWRITE_IF_EXISTS_OR_ADD") -> Message:
    """A header to set."""
    return {"header": {"key": name, "value": value}, "append_action": action}
