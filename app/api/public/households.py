"""The catalogue of categories that a family may claim."""

from fastapi import APIRouter

from app.api.deps import Db, View
from app.services import households

router = APIRouter(tags=["家庭 households"])


class CategoryDefinitionView(View):
    """`holder` is `person` or `household`."""

    code: str
    zh: str
    en: str
    holder: str


@router.get("/categories", summary="家庭和人员类别 Categories of people and households")
async def list_categories(db: Db) -> list[CategoryDefinitionView]:
    """What `code` in `categories` of a registration may be."""
    return [CategoryDefinitionView.model_validate(row) for row in await households.categories(db)]
