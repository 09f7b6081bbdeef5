"""Every table, as SQLAlchemy Core knows it. Changes here need a migration in `migrations/versions`.

Times are seconds since 1970 (UTC) as doubles. Secrets are never stored: `digest` is the HMAC-SHA256 of a secret under
the installation's key. `changes` is the feed by which processes learn what to forget from their caches.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_Id = String(40)


def _workspace() -> Column[str]:
    return Column("workspace_id", _Id, ForeignKey("workspaces.id", ondelete="CASCADE"), nullable=False)


workspaces = Table(
    "workspaces",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("name", String(100), nullable=False),
    Column("created_at", Double, nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("id", _Id, primary_key=True),
    _workspace(),
    Column("name", String(100), nullable=False),
    Column("email", String(254), nullable=False),
    Column("role", String(20), nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("disabled_at", Double),
    UniqueConstraint("workspace_id", "email"),
)

claims = Table(
    "claims",
    metadata,
    Column("id", _Id, primary_key=True),
    _workspace(),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("role", String(20), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("used_at", Double),
)

credentials = Table(
    "credentials",
    metadata,
    Column("id", _Id, primary_key=True),
    _workspace(),
    Column("user_id", _Id, ForeignKey("users.id", ondelete="CASCADE")),
    Column("kind", String(10), nullable=False),
    Column("name", String(100), nullable=False),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("hint", String(16), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("revoked_at", Double),
    Column("last_used_at", Double),
    Index(None, "workspace_id", "kind"),
)

engines = Table(
    "engines",
    metadata,
    Column("id", _Id, primary_key=True),
    _workspace(),
    Column("name", String(100), nullable=False),
    Column("kind", String(10), nullable=False),
    Column("description", String(300), nullable=False, default=""),
    Column("model", String(200), nullable=False),
    Column("url", String(500)),
    Column("secret_name", String(100)),
    Column("is_default", Boolean, nullable=False, default=False),
    Column("created_at", Double, nullable=False),
    UniqueConstraint("workspace_id", "name"),
)

conversations = Table(
    "conversations",
    metadata,
    Column("id", _Id, primary_key=True),
    _workspace(),
    Column("user_id", _Id, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("title", String(200), nullable=False, default=""),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Index(None, "user_id", "updated_at"),
)

messages = Table(
    "messages",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("conversation_id", _Id, ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("role", String(10), nullable=False),
    Column("content", Text, nullable=False),
    Column("status", String(10), nullable=False),
    Column("error", String(300)),
    Column("created_at", Double, nullable=False),
    UniqueConstraint("conversation_id", "position"),
)

changes = Table(
    "changes",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("topic", String(20), nullable=False),
    Column("ref", String(40), nullable=False),
    Column("at", Double, nullable=False),
    sqlite_autoincrement=True,
)
