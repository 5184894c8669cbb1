"""Who sees which rows: households and people."""

from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, true
from sqlalchemy.orm import aliased

from app.access.permissions import Actor
from app.access.regions import within
from app.access.rules import (
    Scope,
    lies_within,
    nobody_restricted,
    of_region,
    own_household,
    own_person,
    rule,
    under_guardian,
    unrestricted,
)
from app.db import Base
from app.models.consents import Consent
from app.models.corrections import Correction
from app.models.duplicates import Merge, Suspicion
from app.models.households import PENDING, Household, HouseholdStatus, Membership, Person
from app.models.identity import ResidentAccount, Role
from app.models.life_events import LifeEvent
from app.models.messages import InboxMessage
from app.models.moves import Move
from app.models.rights import Erasure
from app.models.surveys import SurveyResponse, SurveyTemplate


def _kept_household(id: Any) -> Any:
    written = aliased(Household)
    kept = select(func.coalesce(written.merged_into, written.id)).where(written.id == id)
    return kept.correlate_except(written).scalar_subquery()


def _once_belonged_within(person: Any, actor: Actor) -> ColumnElement[bool]:
    membership, home = aliased(Membership), aliased(Household)
    return exists().where(
        membership.person_id == person,
        home.id == membership.household_id,
        of_region(home.region_code)(actor),
    )


def _of_own_household(actor: Actor, person: Any) -> ColumnElement[bool]:
    housemate = aliased(Membership)
    return exists().where(
        housemate.person_id == person,
        housemate.valid_to.is_(None),
        housemate.household_id == own_household(actor),
    )


def _bound_since(actor: Actor, asked_at: Any) -> ColumnElement[bool]:
    """A binding that was released as wrong, or replaced, leaves nothing of what was asked for under it."""
    account = aliased(ResidentAccount)
    return exists().where(
        account.id == actor.account_id, account.person_id.is_not(None), account.bound_at <= asked_at
    )


SCOPE: dict[type[Base], Scope] = {
    Household: rule(
        # One's own, and the form that one has under way; who has left a household sees it no more.
        resident=lambda a: or_(
            Household.id == own_household(a),
            and_(Household.account_id == a.account_id, Household.status.in_(PENDING)),
        ),
        # A draft is the resident's own until it is submitted.
        worker=lambda a: and_(
            within(Household.region_code, a.region_code), Household.status != HouseholdStatus.DRAFT
        ),
    ),
    Person: rule(
        resident=lambda a: or_(
            Person.id == own_person(a),
            exists().where(
                Membership.person_id == Person.id,
                Membership.valid_to.is_(None),
                Membership.household_id == own_household(a),
            ),
        ),
        worker=lambda a: and_(of_region(Person.region_code)(a), unrestricted(a)),
    ),
    Consent: rule(
        resident=lambda a: or_(
            Consent.person_id == own_person(a),
            and_(Consent.guardian_id == own_person(a), under_guardian()),
        )
    ),
    Correction: rule(
        resident=lambda a: or_(
            Correction.person_id == own_person(a),
            # What one asked for others, as long as one belongs to them.
            and_(
                Correction.requester_role == Role.RESIDENT,
                Correction.requested_by == a.account_id,
                or_(_of_own_household(a, Correction.person_id), Correction.household_id == own_household(a)),
            ),
        ),
        # Where the person or household is now: a request follows who moves.
        worker=lambda a: and_(
            of_region(Correction.region_code)(a), nobody_restricted(a, Correction.person_id)
        ),
    ),
    Erasure: rule(
        resident=lambda a: or_(
            Erasure.person_id == own_person(a),
            and_(
                Erasure.requester_role == Role.RESIDENT,
                Erasure.requested_by == a.account_id,
                _bound_since(a, Erasure.requested_at),
            ),
        ),
        worker=of_region(Erasure.region_code),
    ),
    # What is asked is no secret.
    SurveyTemplate: rule(resident=lambda _: true(), worker=lambda _: true()),
    # Whoever sees one of the two knows of the suspicion; who sees both decides.
    Suspicion: rule(
        worker=lambda a: or_(
            lies_within(Person, Suspicion.person_a, a), lies_within(Person, Suspicion.person_b, a)
        )
    ),
    # Also where they once belonged: whoever is kept may be counted nowhere since.
    Merge: rule(
        worker=lambda a: or_(
            lies_within(Person, Merge.kept_person_id, a),
            _once_belonged_within(Merge.kept_person_id, a),
            lies_within(Household, Merge.kept_household_id, a),
            lies_within(Household, Merge.lost_household_id, a),
        )
    ),
    # Where the household is now: its answers follow it.
    SurveyResponse: rule(
        resident=lambda a: SurveyResponse.household_id == own_household(a),
        worker=lambda a: lies_within(Household, SurveyResponse.household_id, a),
    ),
    InboxMessage: rule(resident=lambda a: InboxMessage.person_id == own_person(a)),
    LifeEvent: rule(
        # It goes with its household, and with the one into which that was merged.
        worker=lambda a: lies_within(Household, _kept_household(LifeEvent.household_id), a),
    ),
    # Both villages: the one that hands over and the one that takes over.
    Move: rule(
        worker=lambda a: or_(
            within(Move.from_region_code, a.region_code), within(Move.to_region_code, a.region_code)
        ),
    ),
}
