"""All detectors that come with Freehold: `secrets`, `money`, `national`, `contact`, `person`. Read by `policy`."""

from freehold.guard.detector import Detector
from freehold.guard.detectors import contact, money, national, person, secrets


def built_in(regions: tuple[str, ...] = contact.REGIONS) -> tuple[Detector, ...]:
    """Every detector, with telephone numbers of these regions."""
    return (
        *secrets.DETECTORS,
        *money.DETECTORS,
        *national.DETECTORS,
        *contact.detectors(regions),
        *person.DETECTORS,
    )
