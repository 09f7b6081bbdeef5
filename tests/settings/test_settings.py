"""Where settings come from, which source wins, and that everything wrong is named at once."""

from pathlib import Path

import pytest

from freehold import settings
from freehold.protocol.errors import Misconfigured


def load(folder: Path, **overrides: object) -> settings.Settings:
    return settings.load(folder, **overrides)


def test_everything_has_a_default(tmp_path: Path) -> None:
    loaded = load(tmp_path)
    assert (loaded.edge.bind, loaded.edge.port, loaded.runner.driver) == ("127.0.0.1", 8443, "sandbox")
    assert loaded.database_url == f"sqlite+aiosqlite:///{tmp_path}/freehold.db"


def test_options_beat_the_environment_which_beats_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "freehold.toml").write_text("[edge]\nport = 1111\nidle_timeout = 7\nmax_connections = 5\n")
    monkeypatch.setenv("FREEHOLD_EDGE__PORT", "2222")
    monkeypatch.setenv("FREEHOLD_EDGE__MAX_CONNECTIONS", "6")
    loaded = load(tmp_path, edge={"port": 3333, "bind": None})
    assert (loaded.edge.port, loaded.edge.max_connections, loaded.edge.idle_timeout) == (3333, 6, 7)


def test_every_problem_is_named_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "freehold.toml").write_text("[edge]\nprot = 1\n[gateway]\nmax_wait = -1\n")
    monkeypatch.setenv("FREEHOLD_RUNNER__SLOTS", "many")
    with pytest.raises(Misconfigured) as caught:
        load(tmp_path)
    assert len(caught.value.problems) == 3
    assert all(problem.remedy for problem in caught.value.problems)


@pytest.mark.parametrize("name", ["a b", "-a", "a..b", "ä.example", "a/b", "", "a" * 64])
def test_a_domain_must_be_a_host_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(Misconfigured):
        load(tmp_path, edge={"domains": (name,)})
    assert load(tmp_path, edge={"domains": ("AI.example",)}).edge.domains == ("ai.example",)


def test_a_broken_file(tmp_path: Path) -> None:
    (tmp_path / "freehold.toml").write_text("[edge\n")
    with pytest.raises(Misconfigured) as caught:
        load(tmp_path)
    assert "freehold.toml" in caught.value.problems[0].what


def test_a_child_gets_exactly_what_the_parent_has(tmp_path: Path) -> None:
    loaded = load(tmp_path, edge={"domains": ("a.example",), "tls": {"certificate": tmp_path / "c.pem"}})
    assert settings.parse(settings.dump(loaded)) == loaded


def test_sockets_stay_short_however_deep_the_state_lies(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    layout = load(deep).layout
    layout.create()
    assert len(str(layout.runners / "ws_0123456789abcdef-00" / "runner.sock")) <= 107


def test_secrets_are_made_once_private_and_checked(tmp_path: Path) -> None:
    layout = load(tmp_path / "state").layout
    layout.create()
    assert layout.secret("a") == layout.secret("a") != layout.secret("b")
    assert (layout.keys / "a.key").stat().st_mode & 0o077 == 0
    (layout.keys / "a.key").write_bytes(b"short")
    with pytest.raises(Misconfigured):
        layout.secret("a")


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "f"
    settings.write_private(target, b"one")
    with pytest.raises(TypeError):
        settings.write_private(target, "text")  # type: ignore[arg-type]
    assert target.read_bytes() == b"one"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
