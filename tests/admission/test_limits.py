"""What a hold reserves, settles and says, over the memory store."""

import asyncio

import pytest

from freehold.admission.limits import Charge, Limiter, LimitSet, Subject, duration
from freehold.admission.memory import MemoryStore
from freehold.protocol.errors import Refused
from tests.admission.conftest import Clock


def charge(prompt: int, answer: int, **limits: int) -> Charge:
    return Charge("ws", (Subject("key", "k", LimitSet(**limits)),), prompt, answer)


async def test_what_was_reserved_and_not_used_is_given_back(clock: Clock) -> None:
    limiter = Limiter(MemoryStore(clock))
    for number in range(9):
        async with limiter.hold(charge(50, 950, tokens_per_day=1000), f"l{number}") as hold:
            hold.used(100)
    with pytest.raises(Refused) as caught:
        async with limiter.hold(charge(50, 950, tokens_per_day=1000), "l"):
            pass
    assert (caught.value.status, caught.value.code) == (429, "tokens_limit_exceeded")


async def test_a_failure_charges_the_prompt_and_frees_the_slot(clock: Clock) -> None:
    limiter = Limiter(MemoryStore(clock))
    for number in range(2):
        with pytest.raises(ZeroDivisionError):
            async with limiter.hold(charge(100, 900, tokens_per_day=1000, concurrent=1), f"l{number}"):
                raise ZeroDivisionError
    async with limiter.hold(charge(100, 600, tokens_per_day=1000, concurrent=1), "l") as hold:
        assert hold.output_tokens == 600
        with pytest.raises(Refused) as caught:
            async with limiter.hold(charge(1, 1, tokens_per_day=1000, concurrent=1), "m"):
                pass
        assert caught.value.code == "concurrency_limit_exceeded"


async def test_a_cancelled_exchange_is_settled(clock: Clock) -> None:
    limiter = Limiter(MemoryStore(clock))
    began = asyncio.Event()

    async def exchange() -> None:
        async with limiter.hold(charge(10, 990, tokens_per_day=1000, concurrent=1), "l"):
            began.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(exchange())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with limiter.hold(charge(10, 980, tokens_per_day=1000, concurrent=1), "m") as hold:
        assert hold.output_tokens == 980


async def test_tokens_never_pass_the_limit_whatever_is_asked_for(clock: Clock) -> None:
    limiter = Limiter(MemoryStore(clock))
    used = 0
    for number in range(50):
        try:
            async with limiter.hold(charge(10, 4096, tokens_per_day=1000), f"l{number}") as hold:
                hold.used(10 + hold.output_tokens)
                used += 10 + hold.output_tokens
        except Refused as error:
            assert error.retry_after
    assert used <= 1000


async def test_the_tightest_limit_is_told(clock: Clock) -> None:
    limiter = Limiter(MemoryStore(clock))
    wide = Subject("workspace", "ws", LimitSet(requests_per_minute=1000))
    tight = Subject("user", "u", LimitSet(requests_per_minute=10))
    async with limiter.hold(Charge("ws", (wide, tight), 1, 1), "l") as hold:
        assert dict(line.split(b": ") for line in hold.headers().splitlines()) == {
            b"x-ratelimit-limit-requests": b"10",
            b"x-ratelimit-remaining-requests": b"9",
            b"x-ratelimit-reset-requests": b"6s",
        }


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.02, "20ms"), (1, "1s"), (1.5, "1.5s"), (60, "1m0s"), (360, "6m0s"), (3720, "1h2m0s")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
