"""Who sees which rows: staff, hospitals, stations and files."""

from sqlalchemy import and_, select

from app.access.regions import within
from app.access.rules import Scope, of_region, rule
from app.db import Base
from app.models.identity import CITIZEN_DOOR, STAFF_DOOR, SignIn
from app.models.imports import ImportBatch
from app.models.partners import Organization
from app.models.regions import RegionSuccession
from app.models.rosters import RosterMember, TrainingCertificate
from app.models.search import RegistryExport, SavedFilter
from app.models.staff import StaffAccount
from app.models.stations import Station

SCOPE: dict[type[Base], Scope] = {
    ImportBatch: rule(worker=of_region(ImportBatch.region_code)),
    Organization: rule(
        worker=of_region(Organization.region_code),
        partner=lambda a: Organization.id == a.id,
        system_administrator=of_region(Organization.region_code),
    ),
    SavedFilter: rule(worker=lambda a: SavedFilter.created_by == a.id),
    RegistryExport: rule(worker=lambda a: RegistryExport.created_by == a.id),
    StaffAccount: rule(
        worker=lambda a: StaffAccount.id == a.id, system_administrator=of_region(StaffAccount.region_code)
    ),
    RegionSuccession: rule(system_administrator=of_region(RegionSuccession.old_code)),
    Station: rule(worker=of_region(Station.region_code)),
    RosterMember: rule(worker=of_region(RosterMember.region_code)),
    TrainingCertificate: rule(
        worker=lambda a: TrainingCertificate.member_id.in_(
            select(RosterMember.id).where(within(RosterMember.region_code, a.region_code))
        )
    ),
    SignIn: rule(
        # With the door: an administrator chooses the ids of workers, and may choose that of a resident.
        resident=lambda a: and_(SignIn.door == CITIZEN_DOOR, SignIn.account_id == a.id),
        worker=lambda a: and_(SignIn.door == STAFF_DOOR, SignIn.account_id == a.id),
        system_administrator=lambda a: and_(
            SignIn.door == STAFF_DOOR,
            SignIn.account_id.in_(
                select(StaffAccount.id).where(within(StaffAccount.region_code, a.region_code))
            ),
        ),
    ),
}
