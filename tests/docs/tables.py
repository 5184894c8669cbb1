"""The tables in the documentation that come from the code. `python -m tests.docs.tables` renews them."""

import re
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import to_json

from app.services import reference_data
from app.settings import ROOT, Settings

DOCS = ROOT / "docs"
# For the settings that carry no description of their own.
MEANING = {
    "environment": "`production` refuses unsafe settings",
    "wechat_appid": "AppID of the mini-program",
    "wechat_secret": "AppSecret of the mini-program",
    "wechat_miniprogram_state": "Which version of the mini-program a reminder opens",
}


def settings_table() -> str:
    lines = ["| variable | default | what it is |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        what = field.description or MEANING[name]
        lines.append(f"| `NUANXIN_{name.upper()}` | {_default(field)} | {what}{_choices(field)} |")
    return "\n".join(lines)


def _default(field: FieldInfo) -> str:
    default = field.default
    if isinstance(default, SecretStr) or (isinstance(default, dict) and "*" in to_json(default).decode()):
        return "development default"
    if default is None:
        return "unset"
    if field.default_factory is not None:
        return "on in development"
    shown = str(default).lower() if isinstance(default, bool) else str(default)
    return f"`{shown.replace(f'{ROOT}/', '')}`"


def _choices(field: FieldInfo) -> str:
    if get_origin(field.annotation) is not Literal:
        return ""
    return ": " + ", ".join(f"`{choice}`" for choice in get_args(field.annotation))


def catalogue_table() -> str:
    parts = []
    for service in reference_data.services():
        if not any("observations" in item for item in service["items"]):
            continue
        parts += [f"### `{service['code']}` {service['zh']} {service['en']}", ""]
        parts += ["| code | what | whom | value |", "|---|---|---|---|"]
        for item in service["items"]:
            parts += [_observation(item, observation) for observation in item.get("observations", [])]
        parts.append("")
    return "\n".join(parts).rstrip()


def _observation(item: dict[str, Any], observation: dict[str, Any]) -> str:
    whom = observation.get("applies_to", item["applies_to"])
    codes = " ".join(f"`{code}`" for code in observation.get("codes", []))
    value = codes or f"number in `{observation['unit']}`"
    return f"| `{observation['code']}` | {observation['zh']} {observation['en']} | {whom} | {value} |"


TABLES: dict[str, tuple[str, Callable[[], str]]] = {
    "settings": ("operating.md", settings_table),
    "catalogue": ("integrating-hospitals.md", catalogue_table),
}


def between(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {name}: [^\n]*-->\n)(.*?)(<!-- end of {name} -->)", re.DOTALL)


def renewed(name: str) -> tuple[str, str]:
    """The text of the page as it is, and as it should be."""
    file, make = TABLES[name]
    text = (DOCS / file).read_text(encoding="utf-8")
    return text, between(name).sub(lambda found: f"{found[1]}{make()}\n{found[3]}", text)


if __name__ == "__main__":
    for name, (file, _) in TABLES.items():
        (DOCS / file).write_text(renewed(name)[1], encoding="utf-8")
