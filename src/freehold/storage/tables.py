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
    Column("domain", String(253), unique=True),
    Column("created_at", Double, nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("id", _Id, primary_key=True),
    _workspace(),
    Column("name", String(100), nullable=False),
    Column("email", String(254)),  # none: a service account
    Column("role", String(20), nullable=False),
    Column("password_hash", Text),  # none: signs in by a passkey, a provider, or (a service) not at all
    Column("external_id", String(200)),  # by which a SCIM client knows it
    Column("created_at", Double, nullable=False),
    Column("disabled_at", Double),
    UniqueConstraint("workspace_id", "email"),
    UniqueConstraint("workspace_id", "external_id"),
)

groups = Table(
    "groups",
    metadata,
    Column("id", _Id, primary_key=True),
    _workspace(),
    Column("name", String(100), nullable=False),
    Column("role", String(20)),  # what its members may do at least
    Column("external_id", String(200)),
    Column("created_at", Double, nullable=False),
    UniqueConstraint("workspace_id", "name"),
)

group_members = Table(
    "group_members",
    metadata,
    Column("group_id", _Id, ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", _Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("source", String(40), nullable=False, default=""),  # the provider that says so; "" for a person
    Index(None, "user_id"),
)

claims = Table(
    "claims",
    metadata,
    Column("id", _Id, primary_key=True),
    _workspace(),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("role", String(20), nullable=False),
    Column("email", String(254)),  # an invitation is a claim for this address
    Column("invited_by", _Id, ForeignKey("users.id", ondelete="SET NULL")),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("used_at", Double),
)

provisioned_users = Table(
    "provisioned_users",
    metadata,
    Column("user_id", _Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    _workspace(),
    Column("user_name", String(254), nullable=False),  # the SCIM client's name of the account, in lower case
    Column("said", Text, nullable=False),  # JSON: what the client said of it, as it is told again
    Column("deactivated_at", Double),  # the account's disabled_at if the client disabled it
    UniqueConstraint("workspace_id", "user_name"),
)

provisioned_groups = Table(
    "provisioned_groups",
    metadata,
    Column("group_id", _Id, ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True),
    Column("created_at", Double, nullable=False),
)

totp = Table(
    "totp",
    metadata,
    Column("user_id", _Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("secret", LargeBinary, nullable=False),  # sealed under the installation's key
    Column("last_step", BigInteger, nullable=False, default=0),  # a code is good once
    Column("created_at", Double, nullable=False),
    Column("confirmed_at", Double),
)

recovery_codes = Table(
    "recovery_codes",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("user_id", _Id, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("used_at", Double),
    Index(None, "user_id"),
)

passkeys = Table(
    "passkeys",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("user_id", _Id, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("credential", LargeBinary(1023), nullable=False, unique=True),
    Column("public_key", LargeBinary, nullable=False),
    Column("sign_count", BigInteger, nullable=False),
    Column("name", String(100), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("last_used_at", Double),
    Index(None, "user_id"),
)

providers = Table(
    "providers",
    metadata,
    Column("id", _Id, primary_key=True),
    _workspace(),
    Column("name", String(40), nullable=False),
    Column("title", String(100), nullable=False),
    Column("issuer", String(500), nullable=False),
    Column("client_id", String(300), nullable=False),
    Column("client_secret", LargeBinary),  # sealed under the installation's key; none: a public client
    Column("audience", String(300)),  # access tokens for it are taken by the API; none: sign-in only
    Column("options", Text, nullable=False),  # JSON: scopes, claim and group mapping, allowed e-mail domains
    Column("metadata", Text),  # JSON: discovered endpoints and keys
    Column("fetched_at", Double),
    Column("created_at", Double, nullable=False),
    Column("disabled_at", Double),
    UniqueConstraint("workspace_id", "name"),
)

external_identities = Table(
    "external_identities",
    metadata,
    Column("provider_id", _Id, ForeignKey("providers.id", ondelete="CASCADE"), primary_key=True),
    Column("subject", String(300), primary_key=True),
    Column("user_id", _Id, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", Double, nullable=False),
    Index(None, "user_id"),
)

limits = Table(
    "limits",
    metadata,
    Column("id", _Id, primary_key=True),
    _workspace(),
    Column("kind", String(10), nullable=False),  # workspace, group, user, key, assistant, address
    Column("subject", String(100), nullable=False),  # an id, or "*" for each of the kind
    Column("bounds", Text, nullable=False),  # JSON
    Column("created_at", Double, nullable=False),
    UniqueConstraint("workspace_id", "kind", "subject"),
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
    Column("scopes", String(200), nullable=False, default=""),  # words with a space between; "": all
    Column("assistants", Text, nullable=False, default=""),  # JSON list of names; "": all
    Column("sources", Text, nullable=False, default=""),  # JSON list of networks; "": anywhere
    Column("methods", String(40), nullable=False, default=""),  # a session: how it was proved (pwd, otp, passkey, oidc)
    Column("provider_id", _Id, ForeignKey("providers.id", ondelete="CASCADE")),
    Column("external_session", String(300)),  # the provider's name of the session, for its logout
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("revoked_at", Double),
    Column("last_used_at", Double),
    Index(None, "workspace_id", "kind"),
    Index(None, "user_id", "kind"),
)

responses = Table(
    "responses",
    metadata,
    Column("id", _Id, primary_key=True),
    _workspace(),
    Column("owner", _Id, nullable=False),  # the user, or the credential of no user
    Column("previous_id", _Id),
    Column("body", Text, nullable=False),
    Column("input", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Index(None, "workspace_id", "created_at"),
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

audit_entries = Table(  # the search index of the audit log, whose truth is in its files; rows are only added
    "audit_entries",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("action", String(40), nullable=False),
    Column("workspace_id", _Id),  # ids without foreign keys: entries outlive what they tell of
    Column("actor", _Id),
    Column("subject", _Id),
    Column("outcome", String(20)),
    Column("entry", Text, nullable=False),
    Index(None, "workspace_id", "sequence"),
    Index(None, "action", "sequence"),
    Index(None, "actor", "sequence"),
    Index(None, "subject", "sequence"),
    Index(None, "at"),
)

guard_policies = Table(
    "guard_policies",
    metadata,
    Column("workspace_id", _Id, ForeignKey("workspaces.id", ondelete="CASCADE"), primary_key=True),
    Column("policy", Text, nullable=False),  # JSON of `guard.policy.Policy`
    Column("changed_at", Double, nullable=False),
)

guard_values = Table(  # registered values, as keyed fingerprints: the values themselves are nowhere
    "guard_values",
    metadata,
    Column("workspace_id", _Id, ForeignKey("workspaces.id", ondelete="CASCADE"), primary_key=True),
    Column("fingerprint", LargeBinary(16), primary_key=True),
    Column("kind", String(40), nullable=False),
    Column("label", String(100), nullable=False),
    Column("length", Integer, nullable=False),
    Column("head", Integer, nullable=False),
    Column("tail", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
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
