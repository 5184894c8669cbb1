"""Association workers: signing in with password and one-time code, and the accounts of a region."""

from app.services.staff.accounts import (
    CurrentPasswordWrong,
    OwnAccount,
    RegionOutsideOwn,
    UsernameTaken,
    change_password,
    create,
    create_first,
    disable,
    in_region,
    own,
    require_own_region,
    reset,
)
from app.services.staff.authentication import (
    DOOR,
    Enrolment,
    actor_of,
    begin_enrolment,
    confirm_enrolment,
    sign_in,
)
from app.services.staff.credentials import (
    AccountLocked,
    CredentialsRefused,
    PasswordTooWeak,
    TotpEnrolmentRequired,
)

__all__ = [
    "DOOR",
    "AccountLocked",
    "CredentialsRefused",
    "CurrentPasswordWrong",
    "Enrolment",
    "OwnAccount",
    "PasswordTooWeak",
    "RegionOutsideOwn",
    "TotpEnrolmentRequired",
    "UsernameTaken",
    "actor_of",
    "begin_enrolment",
    "change_password",
    "confirm_enrolment",
    "create",
    "create_first",
    "disable",
    "in_region",
    "own",
    "require_own_region",
    "reset",
    "sign_in",
]
