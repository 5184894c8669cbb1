"""The texts of the notices, as data: app/data/messages.json, for the association to adjust to its own templates."""

import json
import re
import uuid
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from app import clock
from app.integrations import wechat
from app.models.appointments import AppointmentStatus
from app.models.messages import InboxMessage, NoticeKind
from app.services.plain import Body, Text
from app.settings import ROOT, settings

Language = Literal["zh", "en"]
Deadline = Literal["time", "until"]
#: What a text may hold. Nothing else enters, so that no name, result or diagnosis can.
NAMES, MOMENTS = ("service", "place"), ("time", "until")
LONGEST = 200
PLACE = re.compile(r"\{([^{}]*)\}")


class Said(Body):
    title: Annotated[str, Text(60)]
    body: Annotated[str, Text(300)]


class Word(Body):
    """What stands where a value is missing, or is nobody's business."""

    zh: Annotated[str, Text(10)]
    en: Annotated[str, Text(40)]


class Words(Body):
    service: Word
    place: Word
    time: Word
    until: Word
    told: Word


Name = Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,20}[0-9]{1,2}$")]


class Kind(Body):
    """One kind of notice. `fields`: of its WeChat template. It is worth sending for so many days, and no longer than
    the value `ends` says; in the quiet hours only if `urgent` is less than so many hours after them; `as_long_as` its
    appointment is in one of these states."""

    zh: Said
    en: Said
    page: Annotated[str, StringConstraints(pattern=r"^pages/[a-z/-]{1,60}$")]
    fields: Annotated[dict[Name, Annotated[str, Text(100)]], Field(min_length=1, max_length=7)]
    days: Annotated[int, Field(ge=1, le=90)]
    ends: Deadline | None = None
    urgent: Deadline | None = None
    urgent_hours: Annotated[int, Field(ge=0, le=24)] = 0
    as_long_as: frozenset[AppointmentStatus] = frozenset()

    @model_validator(mode="after")
    def _holds_nothing_else(self) -> Self:
        """Each field passes WeChat's rules whatever the values: what would be refused by WeChat is refused here."""
        for text in (self.zh.title, self.zh.body, self.en.title, self.en.body, *self.fields.values()):
            if unknown := set(PLACE.findall(text)) - set(Words.model_fields):
                raise ValueError(f"no such value: {', '.join(sorted(unknown))}")
        for name, text in self.fields.items():
            _check_field(name, text)
        return self


def _check_field(name: str, text: str) -> None:
    fixed = PLACE.sub("", text)
    try:
        wechat.fit(name, PLACE.sub(lambda found: _SAMPLES.get(found[1], "服" * LONGEST), text))
        whole = not (fixed and name.startswith("thing")) or wechat.fit(name, fixed) == fixed
    except wechat.MessageRefused as refusal:
        raise ValueError(f"{name} breaks the rule of its type") from refusal
    if not whole:
        raise ValueError(f"{name} is too long")


_SAMPLES = dict.fromkeys(("time", "until", "told"), "2026年12月31日 09:00")


class Catalogue(Body):
    values: Words
    kinds: dict[NoticeKind, Kind]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if missing := set(NoticeKind) - set(self.kinds):
            raise ValueError(f"no texts for {', '.join(sorted(missing))}")
        return self


@cache
def catalogue() -> Catalogue:
    text = (ROOT / "app" / "data" / "messages.json").read_text(encoding="utf-8")
    return Catalogue.model_validate(json.loads(text))


def prepare() -> None:
    """Refuse to start with texts that WeChat would refuse, or templates that nobody sends: kinds that share a template
    share its fields."""
    fields: dict[str, set[str]] = {}
    for kind, template_id in settings().wechat_templates.items():
        if kind not in catalogue().kinds:
            raise ValueError(f"NUANXIN_WECHAT_TEMPLATES: no kind of notice is called {kind}")
        own = set(catalogue().kinds[NoticeKind(kind)].fields)
        if fields.setdefault(template_id, own) != own:
            raise ValueError(
                f"NUANXIN_WECHAT_TEMPLATES: {kind} shares a template with others but not their fields"
            )


def template_of(kind: NoticeKind) -> str | None:
    """None: notices of this kind lie in the inbox only."""
    return settings().wechat_templates.get(kind)


def kinds_of(template_id: str) -> list[NoticeKind]:
    return [NoticeKind(kind) for kind, id in settings().wechat_templates.items() if id == template_id]


def checked(values: Mapping[str, str]) -> dict[str, str]:
    """The values of a notice, as somebody wants to tell them: what, where, when, and ids."""
    for key, value in values.items():
        if key in NAMES and 0 < len(value) <= LONGEST:
            continue
        if key in MOMENTS and datetime.fromisoformat(value).tzinfo is not None:
            continue
        if key.endswith("_id") and uuid.UUID(value):
            continue
        raise ValueError(f"not a value of a notice: {key}")
    return dict(values)


def moment(values: Mapping[str, Any], key: str) -> datetime | None:
    """What came otherwise than `checked` lets in is missing: a list never breaks."""
    try:
        read = datetime.fromisoformat(values[key])
    except (KeyError, TypeError, ValueError):
        return None
    return read if read.tzinfo else None


def _values(notice: InboxMessage, language: Language) -> dict[str, str]:
    given: Mapping[str, Any] = notice.values if isinstance(notice.values, dict) else {}
    words = {key: getattr(word, language) for key, word in catalogue().values}
    words |= {key: given[key] for key in NAMES if isinstance(given.get(key), str) and given[key]}
    moments = {key: moment(given, key) for key in MOMENTS} | {"told": notice.created_at}
    return words | {key: _written(at, language) for key, at in moments.items() if at is not None}


def _written(at: datetime, language: Language) -> str:
    local = at.astimezone(clock.SHANGHAI)
    if language == "en":
        return f"{local:%Y-%m-%d %H:%M}"
    return f"{local.year}年{local.month}月{local.day}日 {local:%H:%M}"


def _filled(text: str, values: Mapping[str, str]) -> str:
    return PLACE.sub(lambda found: values[found[1]], text)


def render(notice: InboxMessage, language: Language, *, service: str | None = None) -> tuple[str, str]:
    """Title and text. `service`: its name in that language, where it is known."""
    kind = catalogue().kinds[notice.kind]
    said = kind.zh if language == "zh" else kind.en
    values = _values(notice, language) | ({"service": service} if service else {})
    return _filled(said.title, values), _filled(said.body, values)


def page_of(notice: InboxMessage) -> str:
    return f"{catalogue().kinds[notice.kind].page}?id={notice.entity_id}&message={notice.id}"


def wechat_data(notice: InboxMessage, *, discreet: bool) -> dict[str, str]:
    """What goes to WeChat. A phone lies open on a table: of a `discreet` service neither what nor where."""
    values = _values(notice, "zh")
    if discreet:
        values |= {key: getattr(catalogue().values, key).zh for key in NAMES}
    fields = catalogue().kinds[notice.kind].fields
    return {name: _filled(text, values) for name, text in fields.items()}
