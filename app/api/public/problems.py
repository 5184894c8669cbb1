"""Every problem type that a door may answer with."""

from fastapi import APIRouter

from app import errors
from app.api.deps import View

router = APIRouter(tags=["问题类型 problem types"])


class ProblemType(View):
    type: str
    status: int
    zh: str
    en: str
    do_zh: str
    do_en: str


def _all(kind: type[errors.Problem]) -> list[type[errors.Problem]]:
    return [sub for direct in kind.__subclasses__() for sub in (direct, *_all(direct))]


@router.get("/problems", summary="问题类型 Problem types")
async def list_problems() -> list[ProblemType]:
    """`type` is stable: switch on it. `do_…` says what to do next."""
    kinds = sorted(
        {kind.slug(): kind for kind in _all(errors.Problem)}.values(), key=lambda kind: kind.slug()
    )
    return [
        ProblemType(
            type=errors.TYPE_BASE + kind.slug(), status=kind.status, zh=kind.zh, en=kind.en, do_zh=kind.do_zh,
            do_en=kind.do_en,
        )
        for kind in kinds
    ]  # fmt: skip
