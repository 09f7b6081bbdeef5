"""What any program of ours needs to run: the interpreter, its libraries, our own code, and a fixed environment.

A box's root is composed of exactly these. Nothing else of the host is in it: not /etc, not a home, not the state.
"""

import os
import sys
from pathlib import Path

import freehold

# All that a boxed program finds in its environment. OMP_*, GOMP_*: idle threads sleep and do not spin, so that boxes do
# not slow each other down. MALLOC_ARENA_MAX: arenas take address space, which is limited.
ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "HOME": "/tmp",  # noqa: S108 - the box's own
    "OMP_WAIT_POLICY": "passive",
    "GOMP_SPINCOUNT": "0",
    "MALLOC_ARENA_MAX": "2",
    "PYTHONDONTWRITEBYTECODE": "1",
}

_SYSTEM = ("/usr",)
_LINKS = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_FILES = ("/etc/ld.so.cache",)


def system_links() -> list[tuple[str, str]]:
    """Top-level links of a merged /usr: (target, link)."""
    return [(str(Path(link).readlink()), link) for link in _LINKS if Path(link).is_symlink()]


def readable() -> list[tuple[Path, str]]:
    """What is to be seen read-only: (on the host, in the box), none inside another."""
    wanted = [
        Path(name) for name in (*_SYSTEM, *_LINKS, *_FILES) if Path(name).exists() and not Path(name).is_symlink()
    ]
    own = Path(freehold.__file__).parent
    base = Path(sys.base_prefix)
    wanted += [base, base.resolve(), Path(sys.prefix), own]
    if base.resolve().is_relative_to("/nix/store"):
        wanted.append(Path("/nix/store"))
    wanted += [hop for hop in _hops(Path(sys.executable)) if os.path.exists(hop)]
    kept: list[Path] = []
    for path in sorted(set(wanted), key=lambda p: len(p.parts)):
        if not any(path.is_relative_to(other) for other in kept):
            kept.append(path)
    return [(path.resolve(), str(path)) for path in kept]


def _hops(path: Path) -> list[Path]:
    """A link and every link that it leads through, to the file itself."""
    found = [path]
    while os.path.islink(path) and len(found) < 16:
        path = Path(os.path.normpath(path.parent / path.readlink()))
        found.append(path)
    return found
