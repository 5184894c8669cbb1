"""Association workers: signing in with password and one-time code, and the accounts of a region."""

from app.services.staff.accounts import (
    CurrentPasswordWrong,
    OwnAccount,
    UsernameTaken,
    change_password,
    create,
    disable,
    in_region,
    own,
    reassign,
    reset,
)
from app.services.staff.authentication import (
    DOOR,
    CodeWrong,
    Enrolment,
    actor_of,
    begin_enrolment,
    confirm_enrolment,
    renew_recovery_codes,
    sign_in,
)
from app.services.staff.credentials import (
    AccountLocked,
    CredentialsRefused,
    PasswordTooWeak,
    TotpEnrolmentRequired,
    purge_throttle,
)

__all__ = [
    "DOOR",
    "AccountLocked",
    "CodeWrong",
    "CredentialsRefused",
    "CurrentPasswordWrong",
    "Enrolment",
    "OwnAccount",
    "PasswordTooWeak",
    "TotpEnrolmentRequired",
    "UsernameTaken",
    "actor_of",
    "begin_enrolment",
    "change_password",
    "confirm_enrolment",
    "create",
    "disable",
    "in_region",
    "own",
    "purge_throttle",
    "reassign",
    "renew_recovery_codes",
    "reset",
    "sign_in",
]
