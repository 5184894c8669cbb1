"""How a donor is shown, and the number of a gift."""

import secrets
import uuid

from app import clock
from app.crypto import COMPOUND_SURNAMES
from app.models.donations import ShownAs

#: Read out over the phone without mistake (Crockford).
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def public_name(shown_as: ShownAs, name: str | None) -> str | None:
    """As the public list shows a donor (慈善法 art. 82): the name, the surname and 某, or nobody. 欧阳修 → 欧阳某."""
    if name is None or shown_as is ShownAs.ANONYMOUS:
        return None
    if shown_as is ShownAs.NAME:
        return name
    if name.isascii():
        return f"{name[0]}."
    return (name[:2] if name[:2] in COMPOUND_SURNAMES and len(name) > 2 else name[:1]) + "某"


def new_number() -> str:
    """20261122-7K3M9QX2TB: the day, and ten characters of chance, so that nobody tries numbers."""
    return f"{clock.today():%Y%m%d}-" + "".join(secrets.choice(ALPHABET) for _ in range(10))


def trade_number(id: uuid.UUID) -> str:
    """out_trade_no of a gift: WeChat Pay takes 32 characters."""
    return id.hex
