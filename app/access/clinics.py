"""Who sees which rows: slots, appointments, results and what follows from them."""

from sqlalchemy import and_, true

from app.access.rules import (
    Scope,
    lies_within,
    nobody_restricted,
    of_clinic_in_region,
    of_own_clinic,
    of_region,
    of_region_or_above,
    own,
    own_person,
    rule,
)
from app.db import Base
from app.models.appointments import Appointment, Clinic, Slot, SlotStatus
from app.models.catalogue import ServiceItem
from app.models.certificates import AttendanceCertificate
from app.models.closures import Closure
from app.models.follow_ups import FollowUp
from app.models.households import Person
from app.models.results import DiagnosticReport
from app.models.rotations import Rotation, RotationTurn, TurnStatus
from app.models.schedules import Practitioner, Room, Schedule
from app.models.settlements import Settlement
from app.models.supplies import SupplyPlan
from app.models.waitlist import WaitlistEntry

SCOPE: dict[type[Base], Scope] = {
    # What the own region added, to be retired there. What may be reported is no secret (results/catalogue).
    ServiceItem: rule(worker=of_region(ServiceItem.region_code)),
    # Slots are no secret; drafts are their publisher's.
    Slot: rule(
        resident=lambda _: Slot.status != SlotStatus.DRAFT,
        worker=of_clinic_in_region(Slot.clinic_id),
        partner=of_own_clinic(Slot.clinic_id),
    ),
    **{
        model: rule(
            worker=of_clinic_in_region(model.clinic_id),
            partner=of_own_clinic(model.clinic_id),
        )
        for model in (Room, Practitioner, Schedule)
    },
    Clinic: rule(
        resident=lambda _: true(),
        worker=of_region(Clinic.region_code),
        partner=lambda a: Clinic.organization_id == a.id,
    ),
    Appointment: rule(
        resident=own(Appointment.person_id, Appointment.spouse_id),
        worker=lambda a: and_(
            of_region(Appointment.region_code)(a),
            nobody_restricted(a, Appointment.person_id, Appointment.spouse_id),
        ),
        partner=of_own_clinic(Appointment.clinic_id),
    ),
    AttendanceCertificate: rule(resident=lambda a: AttendanceCertificate.person_id == own_person(a)),
    WaitlistEntry: rule(
        resident=own(WaitlistEntry.person_id, WaitlistEntry.spouse_id),
        worker=lambda a: and_(
            of_region(WaitlistEntry.region_code)(a),
            nobody_restricted(a, WaitlistEntry.person_id, WaitlistEntry.spouse_id),
        ),
    ),
    Closure: rule(worker=of_clinic_in_region(Closure.clinic_id), partner=of_own_clinic(Closure.clinic_id)),
    Settlement: rule(
        worker=of_clinic_in_region(Settlement.clinic_id), partner=of_own_clinic(Settlement.clinic_id)
    ),
    DiagnosticReport: rule(
        resident=own(DiagnosticReport.person_id, DiagnosticReport.spouse_id),
        worker=lambda a: and_(
            of_region(DiagnosticReport.region_code)(a),
            nobody_restricted(a, DiagnosticReport.person_id, DiagnosticReport.spouse_id),
        ),
        partner=lambda a: DiagnosticReport.organization_id == a.id,
    ),
    FollowUp: rule(
        resident=lambda a: FollowUp.person_id == own_person(a),
        worker=lambda a: and_(of_region(FollowUp.region_code)(a), nobody_restricted(a, FollowUp.person_id)),
        partner=lambda a: FollowUp.referred_to == a.id,
    ),
    # Where the person is counted now.
    SupplyPlan: rule(
        resident=lambda a: SupplyPlan.person_id == own_person(a),
        worker=lambda a: and_(
            lies_within(Person, SupplyPlan.person_id, a), nobody_restricted(a, SupplyPlan.person_id)
        ),
    ),
    # The villages of a rotation see it, and whoever is above.
    Rotation: rule(worker=of_region_or_above(Rotation.region_code)),
    RotationTurn: rule(
        # From the invitation on: a plan may change until then.
        resident=lambda a: and_(
            RotationTurn.person_id == own_person(a),
            RotationTurn.status.not_in([TurnStatus.PLANNED, TurnStatus.DROPPED]),
        ),
        worker=lambda a: and_(
            of_region(RotationTurn.region_code)(a), nobody_restricted(a, RotationTurn.person_id)
        ),
    ),
}
