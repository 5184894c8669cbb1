"""What hospitals are paid: prices, and the settlement of each clinic and month."""

from app.services.settlements.prices import NewPrice, Price, prices, set_price
from app.services.settlements.reading import Line, Month, Sheet, detail, listing, of_month
from app.services.settlements.steps import (
    ConfirmSettlement,
    MonthNotOver,
    PriceMissing,
    SettlementChanged,
    SettlementExists,
    TakenBackLater,
    accept,
    confirm,
    give_back,
)
from app.services.settlements.workbook import workbook

__all__ = [
    "ConfirmSettlement",
    "Line",
    "Month",
    "MonthNotOver",
    "NewPrice",
    "Price",
    "PriceMissing",
    "SettlementChanged",
    "SettlementExists",
    "Sheet",
    "TakenBackLater",
    "accept",
    "confirm",
    "detail",
    "give_back",
    "listing",
    "of_month",
    "prices",
    "set_price",
    "workbook",
]
