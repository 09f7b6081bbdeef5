"""Credentials are looked up whole and without a string-built query, and a revoked one dies under load."""

import ast
import asyncio
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import freehold
from freehold.identity import keys
from freehold.identity.directory import Directory, secret_digest
from freehold.protocol import ids
from freehold.protocol.errors import Refused
from tests.conftest import Home, until

SOURCES = sorted(Path(freehold.__file__).parent.rglob("*.py"))
RUNS_SQL = {"execute", "executemany", "executescript", "exec_driver_sql", "text"}
REVIEWED = {'f"PRAGMA {pragma}"', "f'PRAGMA {pragma}'"}
"""Text that is put together from constants of ours."""


def built(node: ast.expr) -> bool:
    """Whether an expression puts text together."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Attribute) and node.func.attr in ("format", "join", "replace")
    return isinstance(node, (ast.JoinedStr, ast.BinOp))


def string_built_queries(source: str) -> list[str]:
    return [
        ast.unparse(node)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and (node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")) in RUNS_SQL
        and node.args
        and built(node.args[0])
        and ast.unparse(node.args[0]) not in REVIEWED
    ]


def test_no_query_is_built_from_text() -> None:
    assert len(SOURCES) > 60
    found = {str(path): queries for path in SOURCES if (queries := string_built_queries(path.read_text("utf-8")))}
    assert found == {}


@pytest.mark.parametrize("bad", ['c.execute(f"SELECT {x}")', 'text("a" + b)', 'c.exec_driver_sql("%s" % x)',
                                 'c.execute("{}".format(x))'])  # fmt: skip
def test_the_lint_finds_what_it_looks_for(bad: str) -> None:
    assert string_built_queries(bad) == [ast.unparse(ast.parse(bad).body[0])]


def remade(secret: str, at: int, letter: str) -> str:
    """The same secret but for one character, with a right check value again."""
    body = secret[3:-6]
    changed = f"fh_{body[: at % 43]}{letter}{body[at % 43 + 1 :]}"
    return changed + ids._check(changed)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, 42), st.sampled_from("ABCabc019_-")), min_size=1, max_size=5))
async def test_secrets_that_share_all_but_a_letter_are_strangers(home: Home, changes: list[tuple[int, str]]) -> None:
    async with Directory(home.database, home.key).running() as directory:
        known = await directory.authenticate(home.api_key)
        digests = {secret_digest(home.key, home.api_key)}
        others = {remade(home.api_key, at, letter) for at, letter in changes} - {home.api_key}
        for other in others:
            assert ids.secret_kind(other) == "fh"
            with pytest.raises(Refused):
                await directory.authenticate(other)
            digests.add(secret_digest(home.key, other))
        assert len(digests) == len(others) + 1
        assert await directory.authenticate(home.api_key) == known


async def test_a_revoked_key_dies_under_load(home: Home) -> None:
    async with Directory(home.database, home.key).running() as directory:
        principal = await directory.authenticate(home.api_key)
        refused = 0

        async def ask() -> None:
            nonlocal refused
            while True:
                try:
                    await directory.authenticate(home.api_key)
                except Refused:
                    refused += 1
                    return
                await asyncio.sleep(0)

        callers = [asyncio.create_task(ask()) for _ in range(50)]
        await keys.revoke_key(home.database, home.workspace.id, principal.credential_id)
        await until(lambda: refused == 50, 10)
        await asyncio.gather(*callers)
