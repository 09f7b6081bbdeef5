"""How much memory each process holds, read from /proc: what `freehold status` and the idle budget are made of."""

from pathlib import Path

import msgspec


class Memory(msgspec.Struct, frozen=True):
    """Resident bytes of a process. `weights` is the part that maps model files (shared, dropped under pressure)."""

    resident: int
    weights: int


def memory_of(pid: int, models: Path) -> Memory:
    """The memory of a process; zeros when it is gone or this is not Linux. `models` is the model store's folder."""
    try:
        text = Path(f"/proc/{pid}/smaps").read_text()
    except OSError:
        return Memory(0, 0)
    resident = weights = 0
    of_model = False
    for line in text.splitlines():
        if line.startswith("Rss:"):
            size = int(line.split()[1]) << 10
            resident += size
            weights += size if of_model else 0
        elif "-" in line.split(" ", 1)[0]:
            of_model = line.rstrip().endswith(".gguf") or "/models/" in line or str(models) in line
    return Memory(resident, weights)


def descendants(pid: int) -> list[int]:
    """The process and everything below it."""
    found = [pid]
    for parent in found:
        try:
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


def total_memory() -> int:
    """The machine's memory in bytes, within the limit of a container's control group if there is one."""
    text = Path("/proc/meminfo").read_text() if Path("/proc/meminfo").exists() else "MemTotal: 8388608 kB"
    machine = int(text.partition("MemTotal:")[2].split()[0]) << 10
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
    except (OSError, ValueError):
        return machine
    return min(machine, limit)
