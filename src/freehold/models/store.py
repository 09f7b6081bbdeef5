"""The content-addressed model store: every file under its SHA-256, read-only, whole or absent.

    models/sha256/HEX     the files            models/added/NAME.json    models that an operator added
    models/checked/HEX    when HEX was hashed  models/notices/NAME.txt   licence notices
    models/staging/       work in progress, swept when its process is gone

A file is hashed on its way in, again once after each boot of the machine, and whenever its size, time or inode differ
from what was noted then: an edit is found at the next start, and a usual start costs one `stat`.
"""

import asyncio
import contextlib
import hashlib
import os
import re
import time
from pathlib import Path

import msgspec

from freehold.models import catalogue, gguf
from freehold.models.catalogue import CATALOGUE, Model, ModelFile
from freehold.models.fetch import Progress, copy_file, fetch, fetch_address, room
from freehold.models.intake import Intake, WrongBytes, disk_errors, need_room, staging
from freehold.protocol.errors import Misconfigured, Problem
from freehold.settings import write_private

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SPARE = 64 << 20
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Added(msgspec.Struct, frozen=True):
    """A chat model that an operator added."""

    name: str
    bytes: int
    sha256: str
    context: int
    added_at: float

    def model(self) -> Model:
        """It as an entry like those of the catalogue."""
        return Model(self.name, "chat", "unknown", (ModelFile(f"{self.name}.gguf", self.bytes, self.sha256),))


class _Check(msgspec.Struct, frozen=True):
    """When a file's bytes were hashed: in which boot, and how the file looked then."""

    boot: str
    size: int
    modified: int
    changed: int
    inode: int


class ModelStore:
    """The store in `folder` (`Layout.models`). Safe for several processes at once: files appear whole, by rename."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    # --- what is there

    def path(self, file: ModelFile) -> Path:
        """Where the file lies, or would lie."""
        return self._folder / "sha256" / file.sha256

    def has(self, model: Model) -> bool:
        """Are all files there, with the right size? Says nothing about their bytes; `verify` does."""
        return all(_size(self.path(file)) == file.bytes for file in model.files)

    def models(self) -> tuple[Model, ...]:
        """What can be run without fetching: catalogue entries first, then what an operator added."""
        return tuple(model for model in (*CATALOGUE, *self._added()) if self.has(model))

    def resolve(self, word: str) -> Model:
        """The model of that name, alias or SHA-256, fetched or not. Raises Misconfigured when there is none."""
        if found := catalogue.find(word):
            return found
        for model in (*self._added(), *CATALOGUE):
            if word == model.name or any(word == file.sha256 for file in model.files):
                return model
        known = ", ".join(model.name for model in (*CATALOGUE, *self._added()) if model.kind == "chat")
        raise Misconfigured(
            Problem("no model has that name", f"Choose one of: {known}; or add a file: freehold model add.")
        )

    # --- making sure

    async def ensure(self, model: Model, *, offline: bool = False, progress: Progress | None = None) -> None:
        """Fetch what is missing, verify what is there. `progress` hears bytes of all missing files together.

        Raises NoSource, Misconfigured (damaged file, no room). Leaves nothing half-written, also when cancelled.
        """
        missing = [file for file in model.files if _size(self.path(file)) is None]
        total, before = sum(file.bytes for file in missing), 0
        for file in missing:
            base = before

            def tell(done: int, _: int, base: int = base) -> None:
                if progress is not None:
                    progress(base + done, total)

            with staging(self._folder / "staging") as place:
                need_room(place, room(file) + _SPARE)
                with contextlib.closing(Intake(place / "file", file.bytes)) as intake:
                    fresh = await fetch(file, intake, place, tell, offline=offline)
                self._accept(fresh, file.sha256)
            before += file.bytes
        if missing and model.notice:
            self._write("notices", f"{model.name}.txt", model.notice.encode())
        await self.verify(model)

    async def verify(self, model: Model, *, full: bool = False) -> None:
        """Check every file: by hash when `full`, on the first look after a boot, or when it changed; else by `stat`.

        Raises Misconfigured that names the damaged file and what to do.
        """
        for file in model.files:
            await asyncio.to_thread(self._verify, model, file, full)

    def _verify(self, model: Model, file: ModelFile, full: bool) -> None:
        path = self.path(file)
        again = f"Remove it with `freehold model remove {model.name}`, then fetch or add it again."
        try:
            seen = _look(path)
            if seen.size != file.bytes:
                raise Misconfigured(
                    Problem(f"the model file {path} is damaged: {seen.size} bytes instead of {file.bytes}", again)
                )
            if not full and seen.boot and self._checked(file.sha256) == seen:
                return
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except FileNotFoundError:
            raise Misconfigured(Problem(f"the model file {path} is missing", again)) from None
        except OSError as error:
            raise Misconfigured(Problem(f"the model file {path} cannot be read: {error.strerror}", again)) from None
        if digest != file.sha256:
            raise Misconfigured(
                Problem(f"the model file {path} is damaged: its SHA-256 is not the expected one", again)
            )
        self._write("checked", file.sha256, msgspec.json.encode(seen))

    # --- changing it

    async def add(
        self, origin: Path | str, sha256: str, *, name: str | None = None, progress: Progress | None = None
    ) -> Model:
        """Add an operator's own GGUF file, from a path or an https address. Gives its entry.

        Raises Misconfigured (bad name, wrong hash, not a GGUF file, no room), NoSource (address).
        """
        sha256 = sha256.lower()
        if not _SHA256.fullmatch(sha256):
            raise Misconfigured(Problem("the SHA-256 is not one", "It is 64 hexadecimal digits: sha256sum FILE."))
        name = name or _name_of(origin)
        self._free(name, sha256)
        tell = progress or (lambda done, total: None)
        with staging(self._folder / "staging") as place:
            try:
                if isinstance(origin, str):
                    fresh, size = await fetch_address(origin, name, sha256, place, tell)
                else:
                    fresh, size = await copy_file(origin, sha256, place, tell)
                facts = await asyncio.to_thread(gguf.inspect, fresh)
            except WrongBytes as wrong:
                raise Misconfigured(Problem(f"{origin}: {wrong}", "Compare with the publisher's figure.")) from None
            except gguf.NotGguf as wrong:
                raise Misconfigured(
                    Problem(f"{origin} is not a usable GGUF file: {wrong}", "Fetch it again from its publisher.")
                ) from None
            self._accept(fresh, sha256)
        added = Added(name, size, sha256, facts.context, time.time())
        self._write("added", f"{name}.json", msgspec.json.encode(added))
        return added.model()

    def remove(self, word: str) -> int:
        """Take a model out; gives the bytes freed. Files that another installed model uses stay."""
        model = self.resolve(word)
        (self._folder / "added" / f"{model.name}.json").unlink(missing_ok=True)
        (self._folder / "notices" / f"{model.name}.txt").unlink(missing_ok=True)
        kept = {file.sha256 for other in self.models() if other.name != model.name for file in other.files}
        freed = 0
        for file in model.files:
            if file.sha256 not in kept and (size := _size(self.path(file))) is not None:
                self.path(file).unlink()
                (self._folder / "checked" / file.sha256).unlink(missing_ok=True)
                freed += size
        return freed

    def _free(self, name: str, sha256: str) -> None:
        if not _NAME.fullmatch(name):
            raise Misconfigured(
                Problem("that is no name for a model", "Use --name with small letters, digits, dots and hyphens.")
            )
        taken = catalogue.find(name) or next((model for model in self._added() if model.name == name), None)
        if taken and not any(file.sha256 == sha256 for file in taken.files):
            raise Misconfigured(Problem(f"another model is called {name}", "Choose another name with --name."))

    def _added(self) -> tuple[Model, ...]:
        found = []
        for path in sorted((self._folder / "added").glob("*.json")):
            try:
                found.append(msgspec.json.decode(path.read_bytes(), type=Added).model())
            except (OSError, msgspec.DecodeError):
                raise Misconfigured(
                    Problem(f"{path} is damaged", "Remove it and add the model again: freehold model add.")
                ) from None
        return tuple(found)

    def _accept(self, fresh: Path, sha256: str) -> None:
        """Rename a sealed staging file into place and note that it was hashed now."""
        place = self._folder / "sha256"
        with disk_errors(place):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.replace(fresh, place / sha256)
            descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        self._write("checked", sha256, msgspec.json.encode(_look(place / sha256)))

    def _checked(self, sha256: str) -> _Check | None:
        with contextlib.suppress(OSError, msgspec.DecodeError):
            return msgspec.json.decode((self._folder / "checked" / sha256).read_bytes(), type=_Check)
        return None

    def _write(self, kind: str, name: str, data: bytes) -> None:
        with disk_errors(self._folder):
            (self._folder / kind).mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(self._folder / kind / name, data)


def _look(path: Path) -> _Check:
    info = path.stat()
    boot = ""
    with contextlib.suppress(OSError):
        boot = _BOOT_ID.read_text().strip()
    return _Check(boot, info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _name_of(origin: Path | str) -> str:
    """A name from a path's or an address's last part."""
    last = origin.name if isinstance(origin, Path) else origin.split("?")[0].rstrip("/").rsplit("/", 1)[-1]
    return re.sub(r"[^a-z0-9._-]+", "-", last.lower().removesuffix(".gguf")).strip("-._")[:64]
