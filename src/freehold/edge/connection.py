"""How a connection's bytes become requests: codecs, limits, timeouts, the header filters, the access log.

One HTTP connection manager, used by every filter chain of the edge's listener. Envoy parses each message and writes it
anew; what is ambiguous is refused here. The order of the filters is the order of a request's walk.
"""

from pathlib import Path

from freehold.edge.envoy import Message, extension, seconds, typed, watched
from freehold.edge.headers import REQUEST, RESPONSE, SECURITY, UNLESS_SAID, outside
from freehold.edge.replies import own_answers, say
from freehold.settings import Edge

_KIB = 1 << 10
_KNOWN_METHODS = "GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS"


def connection_manager(edge: Edge, routes_file: Path, access_log: Path) -> Message:
    """The network filter that speaks HTTP."""
    return extension(
        "http",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="edge",
        codec_type="AUTO",
        rds={"route_config_name": "edge", "config_source": watched(routes_file)},
        http_filters=_filters(edge),
        access_log=_access_log(access_log),
        local_reply_config=own_answers({**SECURITY, **UNLESS_SAID}),
        upgrade_configs=[{"upgrade_type": "CONNECT"}],  # only so that the routes can refuse it with 405
        **_identity(),
        **_parsing(edge),
        **_time(edge),
    )


def _identity() -> Message:
    """Who is asking is the peer of the connection, never what a header says."""
    return {
        "use_remote_address": True,
        "skip_xff_append": True,
        "forward_client_cert_details": "SANITIZE",
        "server_header_transformation": "PASS_THROUGH",
        "generate_request_id": True,
        "preserve_external_request_id": False,
        "always_set_request_id_in_response": False,
        "request_id_extension": {
            "typed_config": typed(
                "request_id.uuid.v3.UuidRequestIdConfig",
                pack_trace_reason=False,
                use_request_id_for_trace_sampling=False,
            )
        },
    }


def _parsing(edge: Edge) -> Message:
    return {
        "normalize_path": False,  # a path must be its own normal form: see `routes`
        "merge_slashes": False,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "max_request_headers_kb": edge.max_header_kib,
        "stream_error_on_invalid_http_message": False,
        "common_http_protocol_options": {
            "headers_with_underscores_action": "REJECT_REQUEST",
            "max_headers_count": 100,
            "idle_timeout": seconds(edge.idle_timeout),
            "max_stream_duration": seconds(edge.stream_timeout),
        },
        "http_protocol_options": {
            "allow_absolute_url": False,
            "accept_http_10": False,
            "allow_chunked_length": False,
            "enable_trailers": False,
            "override_stream_error_on_invalid_http_message": False,
        },
        "http2_protocol_options": {
            "hpack_table_size": 4 * _KIB,
            "max_concurrent_streams": 100,
            "initial_stream_window_size": 64 * _KIB,
            "initial_connection_window_size": 1024 * _KIB,
            "allow_connect": False,
            "allow_metadata": False,
            "max_outbound_frames": 2000,
            "max_outbound_control_frames": 200,
            "max_consecutive_inbound_frames_with_empty_payload": 1,
            "max_inbound_priority_frames_per_stream": 10,
            "max_inbound_window_update_frames_per_data_frame_sent": 10,
            "override_stream_error_on_invalid_http_message": False,
            "connection_keepalive": {"interval": "60s", "timeout": "20s"},
        },
    }


def _time(edge: Edge) -> Message:
    return {
        "request_headers_timeout": seconds(edge.header_timeout),
        "request_timeout": seconds(edge.body_timeout),
        "stream_idle_timeout": seconds(edge.idle_timeout),
        "drain_timeout": "5s",
        "delayed_close_timeout": "0.5s",
    }


def _filters(edge: Edge) -> list[Message]:
    own = [
        {"append": say("x-freehold-client", "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%")},
        {"append": say("x-freehold-host", "%REQ(:AUTHORITY)%")},
    ]
    answers = [
        drop(outside(RESPONSE)),
        *({"append": say(name, value)} for name, value in SECURITY.items()),
        *({"append": say(name, value, "ADD_IF_ABSENT")} for name, value in UNLESS_SAID.items()),
        {"append": say("x-request-id", "%REQ(X-REQUEST-ID)%", "ADD_IF_ABSENT")},
    ]
    return [
        extension(
            "policy",
            "filters.http.header_mutation.v3.HeaderMutation",
            mutations={
                "request_mutations": [drop(outside((*REQUEST, "x-request-id"))), *own],
                "response_mutations": answers,
            },
        ),
        extension("body_limit", "filters.http.buffer.v3.Buffer", max_request_bytes=edge.max_body_bytes),
        extension(
            "router", "filters.http.router.v3.Router", suppress_envoy_headers=True, respect_expected_rq_timeout=False
        ),
    ]


def drop(expression: str) -> Message:
    """The mutation that removes each header whose name matches."""
    return {"remove_on_match": {"key_matcher": {"safe_regex": {"regex": expression}}}}


def _access_log(path: Path) -> list[Message]:
    """One line for each request. The method is a client's free text, so it is written only when it is a known one."""
    known = {"name": ":method", "string_match": {"safe_regex": {"regex": _KNOWN_METHODS}}}
    unknown = {**known, "invert_match": True, "treat_missing_header_as_empty": True}
    fields = {
        "time": "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%",
        "event": "request",
        "route": "%ROUTE_NAME%",
        "status": "%RESPONSE_CODE%",
        "flags": "%RESPONSE_FLAGS%",
        "protocol": "%PROTOCOL%",
        "received": "%BYTES_RECEIVED%",
        "sent": "%BYTES_SENT%",
        "milliseconds": "%DURATION%",
        "request": "%REQ(X-REQUEST-ID)%",
        "exchange": "%RESP(X-REQUEST-ID)%",
    }
    return [
        log_file(path, {**fields, "method": "%REQ(:METHOD)%"}, {"header_filter": {"header": known}}),
        log_file(path, fields, {"header_filter": {"header": unknown}}),
    ]


def log_file(path: Path, fields: dict[str, str], condition: Message) -> Message:
    """An access log that writes `fields` as one JSON object a line, for what fulfils `condition`."""
    file = extension(
        "file",
        "access_loggers.file.v3.FileAccessLog",
        path=str(path),
        log_format={"json_format": fields},
    )
    return {**file, "filter": condition}
