"""SQL that is written as text is a constant where it is run: nothing that was put together elsewhere gets there.

The stronger half of `test_credentials`' lint: there an expression that builds text is found, here a name, an attribute
or a call that stands for text is found as well. What is reviewed is listed by file and expression.
"""

import ast

import pytest

from tests.identity.test_credentials import SOURCES

TAKES_TEXT = {"exec_driver_sql", "executescript", "executemany"}
REVIEWED = {
    ("storage/engine.py", "f'PRAGMA {pragma}'"),  # of a tuple of constants, two lines above
    ("storage/migrations/versions/v0001_first_schema.py", "statement"),  # of the audit's constants
    ("storage/audit.py", "statement"),  # its own triggers, from constants
    ("storage/audit.py", "f'DROP TRIGGER IF EXISTS audit_entries_kept_{what}{on}'"),
}


def constant(node: ast.expr) -> bool:
    """A literal, or one of two."""
    return isinstance(node, ast.Constant) or (
        isinstance(node, ast.IfExp) and constant(node.body) and constant(node.orelse)
    )


def not_constant(source: str) -> list[str]:
    """First arguments of what takes SQL as text (`text` only where it is SQLAlchemy's) that are no literal."""
    tree = ast.parse(source)
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sqlalchemy")
        for alias in node.names
    }
    names = TAKES_TEXT | ({"text"} & imported)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            plain = called in names or (called == "text" and ast.unparse(node.func).startswith(("sa.", "sqlalchemy.")))
            if plain and not constant(node.args[0]):
                found.append(ast.unparse(node.args[0]))
    return found


def test_sql_text_is_constant() -> None:
    found = {
        (str(path).partition("/freehold/")[2].rpartition("freehold/")[2], bad)
        for path in SOURCES
        for bad in not_constant(path.read_text("utf-8"))
    }
    assert found <= REVIEWED


@pytest.mark.parametrize(
    "bad",
    [
        "q = 'SELECT ' + x\nc.exec_driver_sql(q)",
        "from sqlalchemy import text\nc.execute(text(built(x)))",
        "from sqlalchemy import text\nq = f'{x}'\nc.execute(text(q))",
        "import sqlalchemy\nc.execute(sqlalchemy.text(self.query))",
        "c.executescript(script)",
    ],
)
def test_the_lint_finds_text_that_was_built_elsewhere(bad: str) -> None:
    assert len(not_constant(bad)) == 1
