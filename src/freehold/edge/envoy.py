"""The few shapes that every piece of Envoy's configuration needs: typed values, durations, sockets, clusters.

Used by the other files of this room only. Envoy reads JSON in protobuf's mapping, so a message is a dict here; these
functions are the only places where type names and units are spelled.
"""

import json
from pathlib import Path
from typing import Any

Message = dict[str, Any]

_EXTENSIONS = "type.googleapis.com/envoy.extensions"


def typed(kind: str, **fields: Any) -> Message:
    """A value for a `typed_config`. `kind` is the message's name below `envoy.extensions`, or a whole name."""
    prefix = "type.googleapis.com" if kind.startswith("envoy.") else _EXTENSIONS
    return {"@type": f"{prefix}{'/' if kind.startswith('envoy.') else '.'}{kind}", **fields}


def extension(name: str, kind: str, **fields: Any) -> Message:
    """A named extension with its typed configuration."""
    return {"name": name, "typed_config": typed(kind, **fields)}


def seconds(value: float) -> str:
    """A duration."""
    return f"{value:g}s"


def pipe(path: Path, **fields: Any) -> Message:
    """The address of a Unix socket."""
    return {"pipe": {"path": str(path), **fields}}


def endpoints(name: str, address: Message) -> Message:
    """A cluster's load assignment with one address."""
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]}


def watched(path: Path) -> Message:
    """A configuration source: a file that is read again whenever one is renamed into its folder."""
    return {
        "resource_api_version": "V3",
        "path_config_source": {"path": str(path), "watched_directory": {"path": str(path.parent)}},
    }


def discovery(*resources: Message) -> Message:
    """What a watched file must hold: resources, as a discovery answer."""
    return {"resources": list(resources)}


def text(message: Message) -> str:
    """A message as the text of a file."""
    return json.dumps(message, indent=1) + "\n"
