"""What the supervisor tells the log of boxes is of the log's form, however long an installation runs."""

from freehold.audit.events import Action, Event, Id, encode
from freehold.protocol.ids import new_id


def test_a_box_can_be_told_of_however_often_its_place_was_started() -> None:
    workspace_id = new_id("ws")
    for starts in (1, 99, 100, 123_456):
        name = f"{workspace_id}-{starts:02d}"
        assert name.encode() in encode(Event(action=Action.RUNNER_START, runner=Id(name)))
