"""The table of roles: nobody gains what is above them, and an auditor sees no content."""

import itertools
from collections.abc import Callable
from typing import get_args

import pytest

from freehold.identity import roles
from freehold.identity.roles import Permission
from freehold.protocol.errors import Refused
from freehold.storage.users import Role

LADDER = ("member", "reviewer", "admin", "owner")


def test_each_rung_may_all_that_the_one_below_may() -> None:
    for below, above in itertools.pairwise(LADDER):
        assert roles.GRANTED[below] < roles.GRANTED[above]  # type: ignore[index]
    assert roles.GRANTED["owner"] == set(get_args(Permission))
    assert set(roles.GRANTED) == set(get_args(Role))


def test_an_auditor_reads_the_log_and_no_content() -> None:
    assert roles.GRANTED["auditor"] == {"account", "audit:read"}
    assert roles.effective("auditor", LADDER) == "auditor"


@pytest.mark.parametrize("own", get_args(Role))
@pytest.mark.parametrize("given", [(), (None,), ("member",), ("admin",), ("owner",), ("auditor",), ("nonsense",)])
def test_a_group_raises_on_the_ladder_and_nowhere_else(own: str, given: tuple[str | None, ...]) -> None:
    raised = roles.effective(own, given)
    if own in LADDER and given == ("admin",):
        assert raised == max(own, "admin", key=LADDER.index)
    else:
        assert raised == own


@pytest.mark.parametrize("actor", get_args(Role))
@pytest.mark.parametrize("target", get_args(Role))
def test_nobody_acts_above_themselves(actor: str, target: str) -> None:
    allowed = actor == "owner" or (actor == "admin" and target != "owner")
    assert roles.may_act_on(actor, target) == allowed
    if not allowed:
        with pytest.raises(Refused) as caught:
            roles.demand(actor, target)
        assert caught.value.status == 403


def test_an_unknown_role_may_nothing() -> None:
    assert not any(roles.permits("root", permission) for permission in get_args(Permission))


@pytest.mark.parametrize(
    ("check", "bad"),
    [(roles.personal, "service"), (roles.personal, ""), (roles.of_group, "owner"), (roles.of_group, "auditor")],
)
def test_what_a_person_or_a_group_cannot_be(check: Callable[[str], object], bad: str) -> None:
    with pytest.raises(Refused):
        check(bad)
