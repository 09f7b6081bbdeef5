"""What every driver keeps, run against each: start, tell, stop, wait, log, refuse."""

import asyncio
import os
import signal
import socket
import stat
import time
from pathlib import Path

import pytest

from freehold.isolation.driver import Driver, Guarantee, Mount, open_driver
from freehold.protocol.errors import Misconfigured
from tests.conftest import until
from tests.isolation.conftest import Place

_WAITS = "import sys, time; print('up', flush=True); time.sleep(60)"
_HEARS = "import signal, sys; signal.signal(15, lambda *_: sys.exit(5)); print('up', flush=True); signal.pause()"
_DEAF = "import signal; signal.signal(15, lambda *_: None); print('up', flush=True)\nwhile True: signal.pause()"


class DriverContract:
    """Inherited by one class for each driver."""

    kind: str

    @pytest.fixture
    def driver(self) -> Driver:
        return open_driver(self.kind)

    async def test_it_is_what_was_asked_for(self, driver: Driver) -> None:
        assert driver.name == self.kind
        assert driver.problems() == ()
        assert driver.guarantees | driver.unguaranteed == frozenset(Guarantee)
        assert not driver.guarantees & driver.unguaranteed

    async def test_the_program_is_told_on_stdin_and_its_words_and_code_come_back(
        self, driver: Driver, place: Place
    ) -> None:
        data = b"x" * 300_000  # more than a pipe holds
        spec = place.spec(
            "import sys; print(len(sys.stdin.read())); print('oops', file=sys.stderr); sys.exit(7)", stdin=data
        )
        code, said = await place.run(driver, spec)
        assert code == 7
        assert set(said.split()) == {"300000", "oops"}
        assert stat.S_IMODE(place.log.stat().st_mode) == 0o600

    async def test_the_log_is_appended_to(self, driver: Driver, place: Place) -> None:
        place.log.write_text("before\n")
        box = await driver.start(place.spec("print('after')"))
        assert await box.wait() == 0
        assert place.log.read_text() == "before\nafter\n"

    async def test_alive_until_stopped(self, driver: Driver, place: Place) -> None:
        box = await driver.start(place.spec(_WAITS))
        await until(lambda: "up" in place.log.read_text())
        was_alive = box.alive
        assert was_alive
        assert Path(f"/proc/{box.pid}").exists()
        began = time.monotonic()
        await box.stop(5)
        assert time.monotonic() - began < 2
        assert not box.alive
        assert not Path(f"/proc/{box.pid}").exists()
        assert await box.wait() in (128 + signal.SIGTERM, 128 + signal.SIGKILL)
        await box.stop()  # again is nothing

    async def test_stop_asks_first(self, driver: Driver, place: Place) -> None:
        box = await driver.start(place.spec(_HEARS))
        await until(lambda: "up" in place.log.read_text())
        await box.stop(5)
        assert await box.wait() == 5

    async def test_stop_makes_the_deaf(self, driver: Driver, place: Place) -> None:
        box = await driver.start(place.spec(_DEAF))
        await until(lambda: "up" in place.log.read_text())
        began = time.monotonic()
        await box.stop(0.3)
        assert 0.3 <= time.monotonic() - began < 2
        assert await box.wait() == 128 + signal.SIGKILL

    async def test_the_end_of_the_program_is_seen(self, driver: Driver, place: Place) -> None:
        box = await driver.start(place.spec(_WAITS))
        os.kill(box.pid, signal.SIGKILL)
        async with asyncio.timeout(3):
            assert await box.wait() == 128 + signal.SIGKILL
        assert not box.alive

    async def test_the_host_can_talk_to_its_socket(self, driver: Driver, place: Place) -> None:
        inside = driver.inside(place.own)
        code = f"""
import socket
listener = socket.socket(socket.AF_UNIX); listener.bind({inside!r} + "/s"); listener.listen()
connection, _ = listener.accept(); connection.sendall(connection.recv(100)[::-1])
"""
        box = await driver.start(place.spec(code))
        path = place.own.host / "s"
        await until(path.is_socket)
        with socket.socket(socket.AF_UNIX) as connection:

            def connected() -> bool:
                try:
                    connection.connect(str(path))
                except ConnectionRefusedError:  # bound, not yet listening
                    return False
                return True

            await until(connected)
            connection.settimeout(3)
            connection.sendall(b"abc")
            assert connection.recv(10) == b"cba"
        assert await box.wait() == 0

    async def test_a_read_only_mount_is_read_even_when_private_on_the_host(self, driver: Driver, place: Place) -> None:
        folder, file = place.folder / "relay", place.folder / "model"
        folder.mkdir(mode=0o700)
        file.write_text("weights")
        file.chmod(0o400)
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(folder / "relay.sock"))
        (folder / "relay.sock").chmod(0o600)
        server.listen()
        mounts = (Mount(file, "/models/m"), Mount(folder, "/run/relay"))
        seen = [driver.inside(mount) for mount in mounts]
        code = f"""
import socket
print(open({seen[0]!r}).read())
socket.socket(socket.AF_UNIX).connect({seen[1]!r} + "/relay.sock"); print("connected")
"""
        with server:
            exit_code, said = await place.run(driver, place.spec(code, mounts=mounts))
        assert (exit_code, said.split()) == (0, ["weights", "connected"])
        assert file.stat().st_mode & 0o007 == folder.stat().st_mode & 0o007 == 0  # still closed to everyone else

    async def test_a_program_that_is_not_there_is_refused(self, driver: Driver, place: Place) -> None:
        spec = place.spec("")
        with pytest.raises(Misconfigured) as raised:
            await driver.start(type(spec)(**{**spec.__dict__, "argv": ("/nonexistent/program",)}))
        assert raised.value.problems[0].remedy


class TestSandbox(DriverContract):
    kind = "sandbox"


class TestProcess(DriverContract):
    kind = "process"


def test_there_is_no_other_driver() -> None:
    with pytest.raises(Misconfigured, match="no isolation driver 'docker'"):
        open_driver("docker")
