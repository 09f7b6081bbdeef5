"""What a sign-in provider does is in the log: who came by it for the first time, sessions, its word that one ended."""

import pytest

from freehold.audit.events import Action, By, Outcome, Reason
from tests.console.conftest import BUILT
from tests.console.test_audit import Book
from tests.console.test_providers import Scene, issuers, scene, session_of, way_out
from tests.identity.issuer import ADA

pytestmark = [BUILT, pytest.mark.slow]
__all__ = ["issuers", "scene", "way_out"]


async def test_coming_and_going_by_a_provider(scene: Scene) -> None:
    book, browser = Book(scene.home), scene.house.browser()
    await scene.house.person("owner")
    book.new()
    assert (await scene.sign_in(browser)).status == 200
    joined, group, opened = book.new()
    assert (joined.action, group.action, opened.action) == (
        Action.PERSON_JOIN,
        Action.GROUP_JOIN,
        Action.SESSION_OPEN,
    )
    assert joined.subject == joined.actor == group.subject == opened.actor is not None
    assert {entry.by for entry in (joined, group, opened)} == {By.PROVIDER}
    assert opened.method == "oidc"
    again = scene.house.browser()
    await scene.sign_in(again)
    assert [entry.action for entry in book.new()] == [Action.SESSION_OPEN]

    assert await scene.tell(scene.staff.logout_token(sub="nobody")) == 200
    assert book.new() == []
    sid = (await session_of(scene, browser)).external_session
    assert await scene.tell(scene.staff.logout_token(sid=sid)) == 200
    (ended,) = book.new()
    assert (ended.action, ended.count, ended.subject) == (Action.PROVIDER_LOGOUT, 1, joined.other)
    assert await scene.tell(scene.other.logout_token(sid=sid)) == 401
    (refused,) = book.new()
    assert (refused.action, refused.outcome) == (Action.CREDENTIAL_REFUSED, Outcome.REFUSED)

    stranger = scene.house.browser()
    location = scene.staff.authorize(await scene.leave(stranger))
    assert (await scene.back(scene.house.browser(), location)).status == 302  # another browser's answer
    (refused,) = book.new()
    assert (refused.action, refused.reason, refused.method) == (Action.SESSION_REFUSED, Reason.EXPIRED, "oidc")
    for said in (ADA["email"], ADA["name"], ADA["sub"]):
        assert said not in str((joined, group, opened, ended, refused))
