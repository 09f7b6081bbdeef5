"""What an attacker without the key can append: a frame that is right in all but its signature."""

from pathlib import Path

from freehold.audit import journal
from freehold.audit.tree import Frontier, leaf_hash
from tests.audit.making import OTHER_KEY


def forge(folder: Path) -> None:
    """Append one to the first segment."""
    file = folder / journal.segment_name(0)
    tree, end, moment = Frontier(), 0, journal.Moment(0, 0, 0)
    for frame, _ in journal.frames(file.read_bytes(), 0):
        for entry in frame.entries:
            tree.append(leaf_hash(entry))
        end, moment = frame.end, frame.moment
    forged = b'{"sequence":%d,"at":1,"action":"key:create"}' % end
    tree.append(leaf_hash(forged))
    with file.open("ab") as out:
        out.write(journal.encode(end, [forged], moment, tree.root(), OTHER_KEY))
