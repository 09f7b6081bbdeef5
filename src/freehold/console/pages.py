"""The built web interface: one HTML page for the client-side routes, and its assets, read into memory at start.

The page may run our own scripts and styles and nothing else: strict CSP with Trusted Types, no inline, no other origin.
"""

import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from freehold.protocol.errors import Misconfigured, Problem, Refused

CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
)

PAGE_PATHS = ("/", "/claim", "/join", "/chat", "/chat/{conversation}", "/settings", "/account", "/people")
"""The paths of the page's own router: each is answered with the same HTML."""


@dataclass(frozen=True)
class _File:
    content: bytes
    media_type: str
    etag: str


class Pages:
    """Serves the static build. Raises Misconfigured at construction when it is not there."""

    def __init__(self, folder: Path) -> None:
        if not (folder / "index.html").is_file():
            raise Misconfigured(
                Problem("the web interface is not built", "Run 'make web', or install Freehold from a wheel.")
            )
        self._files = {
            "/" + path.relative_to(folder).as_posix(): _read(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    @property
    def paths(self) -> list[str]:
        """The assets' paths."""
        return [path for path in self._files if path != "/index.html"]

    async def page(self, request: Request) -> Response:
        """The HTML page."""
        file = self._files["/index.html"]
        headers = {"content-security-policy": CONTENT_SECURITY_POLICY, "cache-control": "no-cache", "etag": file.etag}
        return Response(file.content, media_type="text/html", headers=headers)

    async def asset(self, request: Request) -> Response:
        """One file of the build. Names under /assets/ carry a hash, so they may be kept for ever."""
        file = self._files.get(request.url.path)
        if file is None:
            raise Refused("There is nothing at this path.", status=404, code="path_not_found")
        lasting = request.url.path.startswith("/assets/")
        cache = "public, max-age=31536000, immutable" if lasting else "no-cache"
        if request.headers.get("if-none-match") == file.etag:
            return Response(status_code=304, headers={"etag": file.etag, "cache-control": cache})
        return Response(file.content, media_type=file.media_type, headers={"etag": file.etag, "cache-control": cache})


def _read(path: Path) -> _File:
    content = path.read_bytes()
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    if path.suffix == ".js":
        media_type = "text/javascript"
    if path.suffix == ".webmanifest":
        media_type = "application/manifest+json"
    return _File(content, media_type, f'"{hashlib.sha256(content).hexdigest()[:32]}"')
