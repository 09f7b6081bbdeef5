"""Ways to change a log's files, for the tests that demand that each is found. Files are bytes by name."""

import random
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from freehold.audit import journal, tiles
from freehold.audit.tree import leaf_hash
from tests.audit.making import OTHER_KEY

Files = dict[str, bytes]
IGNORED = ("lock", "payload/", "places/")


def load(folder: Path) -> Files:
    """What lies in a folder."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name: (folder / name).read_bytes() for name in names if not name.startswith(IGNORED)}


def store(folder: Path, now: Files, wanted: Files) -> None:
    """Make a folder that holds `now` hold `wanted`."""
    for name in now.keys() - wanted.keys():
        (folder / name).unlink()
    for name, data in wanted.items():
        if now.get(name) != data:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)


def _pick(chance: random.Random, files: Files, part: str = "") -> str:
    return chance.choice(sorted(name for name in files if part in name))


def _place(chance: random.Random, data: bytes) -> int:
    return chance.randrange(len(data)) if data else 0


def flip(chance: random.Random, files: Files) -> Files:
    name = _pick(chance, files)
    data, place = bytearray(files[name]), _place(chance, files[name])
    data[place] ^= 1 << chance.randrange(8)
    return {**files, name: bytes(data)}


def overwrite(chance: random.Random, files: Files) -> Files:
    name = _pick(chance, files)
    data, place = files[name], _place(chance, files[name])
    new = chance.randbytes(chance.randint(1, 64))
    return {**files, name: (data[:place] + new + data[place + len(new) :])[: len(data)]}


def cut_out(chance: random.Random, files: Files) -> Files:
    name = _pick(chance, files)
    data, place = files[name], _place(chance, files[name])
    return {**files, name: data[:place] + data[place + chance.randint(1, 300) :]}


def insert(chance: random.Random, files: Files) -> Files:
    name = _pick(chance, files)
    data, place = files[name], _place(chance, files[name])
    return {**files, name: data[:place] + chance.randbytes(chance.randint(1, 300)) + data[place:]}


def truncate(chance: random.Random, files: Files) -> Files:
    name = _pick(chance, files)
    return {**files, name: files[name][: _place(chance, files[name])]}


def append(chance: random.Random, files: Files) -> Files:
    name = _pick(chance, files)
    return {**files, name: files[name] + chance.randbytes(chance.randint(1, 300))}


def zeros(chance: random.Random, files: Files) -> Files:
    name = _pick(chance, files)
    return {**files, name: files[name] + bytes(chance.randint(1, 300))}


def _says_nothing_new(name: str, files: Files) -> bool:
    """A partial tile of an older checkpoint beside a wider one of the same tile: all of it is in that one."""
    tile, part, width = name.partition(".p/")
    return bool(part) and any(
        other.startswith(f"{tile}.p/") and int(other.rpartition("/")[2]) > int(width) for other in files
    )


def delete(chance: random.Random, files: Files) -> Files:
    name = _pick(chance, files)
    if _says_nothing_new(name, files):
        return files
    return {other: data for other, data in files.items() if other != name}


def delete_several(chance: random.Random, files: Files) -> Files:
    part = chance.choice(["tile/entries", "tile/0", "tile/", "journal/", "e"])
    return {name: data for name, data in files.items() if part not in name}


def swap_files(chance: random.Random, files: Files) -> Files:
    one, other = _pick(chance, files), _pick(chance, files)
    return {**files, one: files[other], other: files[one]}


def copy_over(chance: random.Random, files: Files) -> Files:
    return {**files, _pick(chance, files): files[_pick(chance, files)]}


def add_file(chance: random.Random, files: Files) -> Files:
    levels: list[int | str] = [0, 1, "entries"]
    name = tiles.path(chance.choice(levels), chance.randrange(40), chance.choice([256, 3, 200]))
    return {**files, name: files[_pick(chance, files, "tile/")]}


def _bundles(files: Files) -> list[str]:
    return [name for name in files if name.startswith("tile/entries/") and ".p/" not in name]


def _change_entries(chance: random.Random, files: Files, change: Callable[[list[bytes]], None], rehash: bool) -> Files:
    """Change entries as somebody would who knows the format but not the key."""
    name = chance.choice(_bundles(files))
    entries = tiles.unbundle(files[name])
    change(entries)
    new = {**files, name: tiles.bundle(entries)}
    if rehash:
        new[name.replace("entries", "0")] = b"".join(leaf_hash(entry) for entry in entries)
    return new


def swap_entries(chance: random.Random, files: Files) -> Files:
    def change(entries: list[bytes]) -> None:
        one, other = chance.sample(range(len(entries)), 2)
        entries[one], entries[other] = entries[other], entries[one]

    return _change_entries(chance, files, change, chance.random() < 0.5)


def edit_entry(chance: random.Random, files: Files) -> Files:
    def change(entries: list[bytes]) -> None:
        number = chance.randrange(len(entries))
        entries[number] = entries[number].replace(b"usr_0000000000000000", b"usr_0000000000000001")

    return _change_entries(chance, files, change, chance.random() < 0.5)


def delete_entry(chance: random.Random, files: Files) -> Files:
    def change(entries: list[bytes]) -> None:
        entries.pop(chance.randrange(len(entries)))

    return _change_entries(chance, files, change, False)


def insert_entry(chance: random.Random, files: Files) -> Files:
    return _change_entries(chance, files, lambda e: e.insert(chance.randrange(len(e)), e[0]), False)


def _frames(files: Files, name: str) -> Iterator[tuple[int, int]]:
    place = 0
    for _, end in journal.frames(files[name], int(name.partition("/")[2]) * journal.SEGMENT):
        yield place, end
        place = end


def frame_with_right_checksum(chance: random.Random, files: Files) -> Files:
    """Change a byte within a frame and mend the checksum."""
    name = _pick(chance, files, "journal/")
    begin, end = chance.choice(list(_frames(files, name)))
    frame = bytearray(files[name][begin : end - 4])
    frame[chance.randrange(len(frame))] ^= 1 << chance.randrange(8)
    fresh = bytes(frame) + struct.pack(">I", zlib.crc32(frame))
    return {**files, name: files[name][:begin] + fresh + files[name][end:]}


def drop_frame(chance: random.Random, files: Files) -> Files:
    name = _pick(chance, files, "journal/")
    begin, end = chance.choice(list(_frames(files, name)))
    return {**files, name: files[name][:begin] + files[name][end:]}


def drop_last_frames(chance: random.Random, files: Files) -> Files:
    name = _pick(chance, files, "journal/")
    begin, _ = chance.choice(list(_frames(files, name)))
    return {**files, name: files[name][:begin]}


def repeat_frame(chance: random.Random, files: Files) -> Files:
    name = _pick(chance, files, "journal/")
    begin, end = chance.choice(list(_frames(files, name)))
    return {**files, name: files[name][:end] + files[name][begin:end] + files[name][end:]}


def forge_frame(chance: random.Random, files: Files) -> Files:
    """Add a frame that says all the right things, signed by somebody else."""
    name = _pick(chance, files, "journal/")
    frame = None
    for frame, _ in journal.frames(files[name], int(name.partition("/")[2]) * journal.SEGMENT):  # noqa: B007
        pass
    assert frame is not None
    entry = frame.entries[-1].replace(b'"sequence":%d' % (frame.end - 1), b'"sequence":%d' % frame.end)
    return {**files, name: files[name] + journal.encode(frame.end, [entry], frame.moment, frame.root, OTHER_KEY)}


EVERYWHERE = [
    flip, overwrite, cut_out, insert, truncate, append, zeros, delete, delete_several, swap_files, copy_over, add_file,
    swap_entries, edit_entry, delete_entry, insert_entry,
]  # fmt: skip
IN_JOURNALS = [frame_with_right_checksum, drop_frame, drop_last_frames, repeat_frame, forge_frame]
