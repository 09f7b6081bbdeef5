"""Boxes to attack: a place on the host with a workspace's folder, and a way to run a small hostile program in a box."""

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from freehold.isolation.driver import BoxSpec, Driver, Mount, open_driver

GIB = 1 << 30
AS_ROOT = os.getuid() == 0


@dataclass(frozen=True)
class Place:
    """A folder of the test's own on the host, with the writable folder that the boxes in it are given."""

    folder: Path

    @property
    def own(self) -> Mount:
        """The mount of the box's own folder."""
        return Mount(self.folder / "own", "/run/freehold", writable=True)

    @property
    def log(self) -> Path:
        """Where the boxes write."""
        return self.folder / "box.log"

    def spec(
        self,
        code: str,
        *,
        stdin: bytes = b"",
        mounts: tuple[Mount, ...] = (),
        memory: int = GIB,
        threads: int = 32,
        open_files: int = 256,
    ) -> BoxSpec:
        """A box that runs `code` with our interpreter."""
        argv = (sys.executable, "-I", "-c", code)
        return BoxSpec("test", argv, stdin, (self.own, *mounts), memory, threads, open_files, self.log)

    async def run(self, driver: Driver, spec: BoxSpec, seconds: float = 10.0) -> tuple[int, str]:
        """Start a box and wait for its end; gives exit code and what it wrote."""
        self.log.unlink(missing_ok=True)
        box = await driver.start(spec)
        try:
            async with asyncio.timeout(seconds):
                code = await box.wait()
        finally:
            await box.stop(0)
        return code, self.log.read_text()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "own").mkdir(mode=0o700)
    return Place(tmp_path)


@pytest.fixture
def sandbox() -> Driver:
    return open_driver("sandbox")


@pytest.fixture
def process() -> Driver:
    return open_driver("process")
