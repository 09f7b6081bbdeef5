"""What people prove themselves with besides a password: an authenticator app's secret, recovery codes, passkeys."""

import time

import msgspec
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.protocol.ids import new_id
from freehold.storage.tables import passkeys, recovery_codes, totp, users


class Totp(msgspec.Struct, frozen=True):
    """`secret` is sealed; `last_step` is the time step of the last code that was taken."""

    user_id: str
    secret: bytes
    last_step: int
    confirmed_at: float | None


class Passkey(msgspec.Struct, frozen=True):
    """`credential` is the authenticator's name of it, `public_key` the attested credential data."""

    id: str
    user_id: str
    credential: bytes
    public_key: bytes
    sign_count: int
    name: str
    created_at: float
    last_used_at: float | None


_totp = tuple(totp.c[name] for name in Totp.__struct_fields__)
_passkey = tuple(passkeys.c[name] for name in Passkey.__struct_fields__)


async def begin_totp(connection: AsyncConnection, user_id: str, sealed: bytes) -> None:
    """Remember a secret that is still to be confirmed, in place of an earlier unconfirmed one.

    Raises IntegrityError when there is a confirmed one.
    """
    await connection.execute(delete(totp).where(totp.c.user_id == user_id, totp.c.confirmed_at.is_(None)))
    await connection.execute(
        insert(totp).values(user_id=user_id, secret=sealed, last_step=0, created_at=time.time(), confirmed_at=None)
    )


async def get_totp(connection: AsyncConnection, user_id: str) -> Totp | None:
    """A person's secret, confirmed or not."""
    row = (await connection.execute(select(*_totp).where(totp.c.user_id == user_id))).first()
    return Totp(*row) if row else None


async def use_step(connection: AsyncConnection, user_id: str, step: int, *, confirm: bool = False) -> bool:
    """Note that the code of this time step was taken. False when it, or a later one, was taken before."""
    values = {"last_step": step, **({"confirmed_at": time.time()} if confirm else {})}
    done = await connection.execute(
        update(totp).where(totp.c.user_id == user_id, totp.c.last_step < step).values(**values)
    )
    return done.rowcount == 1


async def remove_totp(connection: AsyncConnection, user_id: str) -> bool:
    """Forget a person's secret and recovery codes. False when there is no secret."""
    await connection.execute(delete(recovery_codes).where(recovery_codes.c.user_id == user_id))
    return (await connection.execute(delete(totp).where(totp.c.user_id == user_id))).rowcount == 1


async def set_recovery_codes(connection: AsyncConnection, user_id: str, digests: list[bytes]) -> None:
    """Give a person these recovery codes in place of all earlier ones."""
    await connection.execute(delete(recovery_codes).where(recovery_codes.c.user_id == user_id))
    for digest in digests:
        await connection.execute(insert(recovery_codes).values(id=new_id("rec"), user_id=user_id, digest=digest))


async def use_recovery_code(connection: AsyncConnection, user_id: str, digest: bytes) -> bool:
    """Use a recovery code up, once."""
    done = await connection.execute(
        update(recovery_codes)
        .where(
            recovery_codes.c.user_id == user_id,
            recovery_codes.c.digest == digest,
            recovery_codes.c.used_at.is_(None),
        )
        .values(used_at=time.time())
    )
    return done.rowcount == 1


async def recovery_codes_left(connection: AsyncConnection, user_id: str) -> int:
    """How many recovery codes a person has not used."""
    query = (
        select(func.count())
        .select_from(recovery_codes)
        .where(recovery_codes.c.user_id == user_id, recovery_codes.c.used_at.is_(None))
    )
    return int((await connection.execute(query)).scalar_one())


async def add_passkey(
    connection: AsyncConnection, user_id: str, *, credential: bytes, public_key: bytes, sign_count: int, name: str
) -> Passkey:
    """Remember a passkey. Raises IntegrityError when the credential is known already."""
    made = Passkey(new_id("psk"), user_id, credential, public_key, sign_count, name, time.time(), None)
    await connection.execute(insert(passkeys).values(**msgspec.structs.asdict(made)))
    return made


async def passkeys_of(connection: AsyncConnection, user_id: str) -> list[Passkey]:
    """A person's passkeys, oldest first."""
    query = select(*_passkey).where(passkeys.c.user_id == user_id).order_by(passkeys.c.created_at)
    return [Passkey(*row) for row in await connection.execute(query)]


async def passkey_by_credential(connection: AsyncConnection, workspace_id: str, credential: bytes) -> Passkey | None:
    """The passkey of that credential whose person is in this workspace."""
    query = (
        select(*_passkey)
        .join(users, users.c.id == passkeys.c.user_id)
        .where(passkeys.c.credential == credential, users.c.workspace_id == workspace_id)
    )
    row = (await connection.execute(query)).first()
    return Passkey(*row) if row else None


async def passkey_used(connection: AsyncConnection, passkey: Passkey, sign_count: int) -> bool:
    """Note a use. False when the counter was changed in between: two at once with one counter are a copy."""
    done = await connection.execute(
        update(passkeys)
        .where(passkeys.c.id == passkey.id, passkeys.c.sign_count == passkey.sign_count)
        .values(sign_count=sign_count, last_used_at=time.time())
    )
    return done.rowcount == 1


async def rename_passkey(connection: AsyncConnection, user_id: str, passkey_id: str, name: str) -> bool:
    """Rename a person's passkey. False when there is none."""
    done = await connection.execute(
        update(passkeys).where(passkeys.c.id == passkey_id, passkeys.c.user_id == user_id).values(name=name)
    )
    return done.rowcount == 1


async def remove_passkey(connection: AsyncConnection, user_id: str, passkey_id: str) -> bool:
    """Forget a person's passkey. False when there is none."""
    done = await connection.execute(delete(passkeys).where(passkeys.c.id == passkey_id, passkeys.c.user_id == user_id))
    return done.rowcount == 1


async def remove_everything(connection: AsyncConnection, user_id: str) -> None:
    """Forget all of a person's factors: what an administrator does when they are lost."""
    await remove_totp(connection, user_id)
    await connection.execute(delete(passkeys).where(passkeys.c.user_id == user_id))
