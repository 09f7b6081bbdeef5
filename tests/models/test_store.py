"""The store with real files: what comes in is right and whole, and what is wrong is named with its remedy."""

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from freehold.models import catalogue
from freehold.models.intake import Intake, staging
from freehold.models.store import ModelStore
from freehold.protocol.errors import Misconfigured
from tests.models.conftest import gguf, sha256

Left = Callable[[], list[str]]


def file(folder: Path, data: bytes, name: str = "mine.gguf") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


async def test_adding_a_file(store: ModelStore, tmp_path: Path) -> None:
    data = gguf()
    seen: list[tuple[int, int]] = []
    added = await store.add(file(tmp_path, data), sha256(data).upper(), progress=lambda *at: seen.append(at))
    assert (added.name, added.bytes, added.kind) == ("mine", len(data), "chat")
    path = store.path(added.files[0])
    assert path.read_bytes() == data
    assert path.stat().st_mode & 0o777 == 0o400
    assert store.models() == (added,)
    assert store.resolve("mine") == store.resolve(sha256(data)) == added
    assert seen[-1] == (len(data), len(data))
    await store.verify(added, full=True)


async def test_removing_frees_all(store: ModelStore, tmp_path: Path, left: Left) -> None:
    data = gguf()
    await store.add(file(tmp_path, data), sha256(data))
    assert store.remove("mine") == len(data)
    assert left() == []
    with pytest.raises(Misconfigured):
        store.resolve("mine")
    await store.add(file(tmp_path, data), sha256(data))


async def test_two_names_for_one_file_share_it(store: ModelStore, tmp_path: Path) -> None:
    data = gguf()
    one = await store.add(file(tmp_path, data), sha256(data), name="one")
    await store.add(file(tmp_path, data), sha256(data), name="two")
    assert store.remove("two") == 0
    await store.verify(one, full=True)
    assert store.remove("one") == len(data)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (gguf()[:-1], "cut short"),
        (gguf()[:40], "cut short"),
        (b"GGUF", "cut short"),
        (b"", "cut short"),
        (b"PK\x03\x04" + b"\0" * 100, "GGUF mark"),
        (gguf(stated=10**6), "outside of the file"),
        (gguf(stated=2**63), "impossible shape"),
        (gguf(offset=2**40), "outside of the file"),
        (gguf(offset=2**64 - 32), "outside of the file"),
        (gguf(entries=2**60), "impossible number"),
        (gguf(count=2**40), "impossible number"),
        (gguf(count=0), "impossible number"),
        (gguf(count=60_000), "impossible|cut short|outside"),
        (b"GGUF" + b"\xff" * 4000, "version"),
        (gguf().replace(b"\x05\0\0\0\0\0\0\0llama", b"\xff\xff\xff\xff\xff\0\0\0llama", 1), "impossible length"),
    ],
    ids=range(15),
)
async def test_a_lying_file_stays_out(store: ModelStore, tmp_path: Path, left: Left, data: bytes, says: str) -> None:
    with pytest.raises(Misconfigured, match=says) as refused:
        await store.add(file(tmp_path, data), sha256(data))
    assert "not a usable GGUF file" in str(refused.value)
    assert left() == []


async def test_a_wrong_hash_stays_out(store: ModelStore, tmp_path: Path, left: Left) -> None:
    changed = bytearray(gguf())
    changed[-1] ^= 1
    with pytest.raises(Misconfigured, match="SHA-256 is not the expected one"):
        await store.add(file(tmp_path, bytes(changed)), sha256(gguf()))
    with pytest.raises(Misconfigured, match="the SHA-256 is not one"):
        await store.add(file(tmp_path, gguf()), "12")
    with pytest.raises(Misconfigured, match="cannot be read"):
        await store.add(tmp_path / "nowhere.gguf", sha256(gguf()))
    with pytest.raises(Misconfigured):
        await store.add(tmp_path, sha256(gguf()), name="folder")
    assert left() == []


@pytest.mark.parametrize("name", ["../up", "UP", ".hidden", "a/b", "a b", "x" * 65, "-x"])
async def test_a_name_that_is_none(store: ModelStore, tmp_path: Path, name: str) -> None:
    with pytest.raises(Misconfigured, match="no name for a model"):
        await store.add(file(tmp_path, gguf()), sha256(gguf()), name=name)


async def test_a_name_that_is_taken(store: ModelStore, tmp_path: Path) -> None:
    await store.add(file(tmp_path, gguf()), sha256(gguf()))
    for name in ("mine", "tiny", catalogue.DEFAULT.name):
        with pytest.raises(Misconfigured, match="another model"):
            await store.add(file(tmp_path, gguf(8192)), sha256(gguf(8192)), name=name)


@pytest.mark.parametrize("damage", ["flip", "cut", "longer", "gone"])
async def test_damage_is_found_at_the_next_look(store: ModelStore, tmp_path: Path, damage: str) -> None:
    data = gguf()
    added = await store.add(file(tmp_path, data), sha256(data))
    path = store.path(added.files[0])
    await store.verify(added)
    path.chmod(0o600)
    if damage == "flip":
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif damage == "gone":
        path.unlink()
    else:
        path.write_bytes(data[:-5] if damage == "cut" else data + b"x")
    with pytest.raises(Misconfigured) as found:
        await store.verify(added)
    (problem,) = found.value.problems
    assert str(path) in problem.what
    assert ("missing" if damage == "gone" else "damaged") in problem.what
    assert f"model remove {added.name}" in problem.remedy
    store.remove(added.name)
    await store.verify(await store.add(file(tmp_path, data), sha256(data)), full=True)


async def test_a_flip_that_keeps_size_and_time_is_found_by_a_full_check(store: ModelStore, tmp_path: Path) -> None:
    data = gguf()
    added = await store.add(file(tmp_path, data), sha256(data))
    path = store.path(added.files[0])
    before = path.stat()
    path.chmod(0o600)
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    for full in (True, False):  # also by the cheap one: the time of the last change cannot be set back
        with pytest.raises(Misconfigured, match="damaged"):
            await store.verify(added, full=full)


async def test_a_damaged_record_is_named(store: ModelStore, tmp_path: Path) -> None:
    await store.add(file(tmp_path, gguf()), sha256(gguf()))
    (tmp_path / "models" / "added" / "mine.json").write_bytes(b"{")
    with pytest.raises(Misconfigured, match=r"mine\.json is damaged"):
        store.models()


async def test_adding_at_once(store: ModelStore, tmp_path: Path, left: Left) -> None:
    data = gguf(200_000)
    origin = file(tmp_path, data)
    stores = [store, ModelStore(tmp_path / "models")]
    await asyncio.gather(*(stores[n % 2].add(origin, sha256(data), name=f"m{n}") for n in range(6)))
    assert [model.name for model in store.models()] == [f"m{n}" for n in range(6)]
    assert sum(name.startswith("sha256/") for name in left()) == 1
    assert not any(name.startswith("staging/") for name in left())
    await store.verify(store.resolve("m0"), full=True)


async def test_what_a_killed_process_left_is_swept(store: ModelStore, tmp_path: Path, left: Left) -> None:
    stale = tmp_path / "models" / "staging" / "dead"
    stale.mkdir(parents=True)
    (stale / "file").write_bytes(b"half")
    with staging(tmp_path / "models" / "staging") as held:  # a living one's work is not
        (held / "file").write_bytes(b"work")
        await store.add(file(tmp_path, gguf()), sha256(gguf()))
        assert (held / "file").read_bytes() == b"work"
    assert not any(name.startswith("staging/") for name in left())


# --- disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.getuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "x", place], check=False).returncode:
        pytest.skip("needs root that may mount a tmpfs")
    yield place
    subprocess.run(["umount", place], check=True)


async def test_a_disk_without_room_is_refused_before(small_disk: Path, tmp_path: Path) -> None:
    data = gguf(500_000)
    store = ModelStore(small_disk / "models")
    with pytest.raises(Misconfigured, match=f"needs {len(data):,}") as refused:
        await store.add(file(tmp_path, data), sha256(data))
    assert "Free space" in refused.value.problems[0].remedy
    with pytest.raises(Misconfigured, match="bytes free"):
        await store.ensure(catalogue.TINY, offline=True)
    assert not [path for path in (small_disk / "models").rglob("*") if path.is_file()]


def test_a_disk_that_fills_up_on_the_way(small_disk: Path) -> None:
    def fill() -> None:
        with staging(small_disk / "staging") as place, contextlib.closing(Intake(place / "file", 4 << 20)) as intake:
            for _ in range(4):
                intake.write(b"x" * (1 << 20))

    with pytest.raises(Misconfigured, match="No space left") as full:
        fill()
    assert "Free space" in full.value.problems[0].remedy
    assert not any((small_disk / "staging").iterdir())


async def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "models").write_bytes(b"a file where the folder should be")
    with pytest.raises(Misconfigured, match="cannot be written"):
        await ModelStore(tmp_path / "models").add(file(tmp_path, gguf()), sha256(gguf()))
