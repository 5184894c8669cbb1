"""Administrative divisions: reading, importing villages, successors and who follows them."""

from app.models.regions import TOWN
from app.services.regions.checks import NewSuccession
from app.services.regions.files import RegionFileRefused
from app.services.regions.following import JOB, apply_due
from app.services.regions.imports import load_villages
from app.services.regions.reading import (
    RegionOutsideOwn,
    children,
    get,
    name_on,
    reaches,
    require,
    require_own_region,
    successors,
)
from app.services.regions.splits import assign, unassigned
from app.services.regions.successions import SuccessionStated, listing, record, record_file, take_back

__all__ = [
    "JOB",
    "TOWN",
    "NewSuccession",
    "RegionFileRefused",
    "RegionOutsideOwn",
    "SuccessionStated",
    "apply_due",
    "assign",
    "children",
    "get",
    "listing",
    "load_villages",
    "name_on",
    "reaches",
    "record",
    "record_file",
    "require",
    "require_own_region",
    "successors",
    "take_back",
    "unassigned",
]
