"""The public log of the ledger: anybody may follow it, and check that a gift is in it."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import TypeAdapter

from app.api.deps import Db, Listing, Paging, View, example, listing
from app.api.public.crowd import UNCHANGED, tell
from app.errors import Invalid, NotFound, problems
from app.services.proofs import reading
from app.services.proofs.reading import NotSealedYet

router = APIRouter(prefix="/proofs", tags=["公开账本 proofs"])
#: What was once signed or proved over so many leaves never changes.
FOREVER, FOR_NOW = "public, max-age=31536000, immutable", "public, max-age=5"
Size = Annotated[int, Query(ge=1, le=2**53, description="Of the log, in leaves")]
HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


class HeadView(View):
    """`size` leaves had this `root` at this time: signed with ed25519, over what docs/proofs.md describes. Hex."""

    model_config = example(
        size=48211, root=HASH, at_microseconds=1795339800000000, key_id="3c1f0a9b5d7e2468", public_key=HASH,
        signature=HASH * 2,
    )  # fmt: skip

    size: int
    root: str
    at_microseconds: int
    key_id: str
    public_key: str
    signature: str


class KeyView(View):
    id: str
    public_key: str
    since: datetime


class InclusionView(View):
    """The bytes of the leaf, its place, and the hashes up to the root of the head (RFC 9162 §2.1.3). Hex."""

    leaf: str
    index: int
    size: int
    path: list[str]
    head: HeadView


class ConsistencyView(View):
    """The hashes of RFC 9162 §2.1.4, hex."""

    first: int
    second: int
    path: list[str]


class LeavesView(View):
    """Leaves in their order, hex. Fewer than asked for: the log ends there for now."""

    start: int
    leaves: list[str]


HEAD = TypeAdapter(HeadView)


def _keep(response: Response, *, forever: bool) -> None:
    response.headers["Cache-Control"] = FOREVER if forever else FOR_NOW


@router.get(
    "/head",
    summary="最新树头 The latest head",
    response_model=HeadView,
    responses=problems(NotFound) | UNCHANGED,
)
async def latest_head(request: Request) -> Response:
    """Keep it: with any later one it proves that nothing before it was changed. 404 while nothing is sealed."""
    return await tell(request, HEAD, reading.head)


@router.get("/heads", summary="树头列表 Heads", response_model=Listing[HeadView])
async def list_heads(db: Db, page: Paging, response: Response) -> dict[str, Any]:
    """The newest first."""
    _keep(response, forever=False)
    after = page.after_one(int)
    rows = await reading.heads(db, before=after, limit=page.limit + 1)
    return listing(rows, page, lambda row: (row["size"],))


@router.get("/heads/{size}", summary="历史树头 The head of a size", responses=problems(NotFound))
async def head_of_size(db: Db, response: Response, size: Annotated[int, Path(ge=1, le=2**53)]) -> HeadView:
    found = HeadView.model_validate(await reading.head(db, size))
    _keep(response, forever=True)
    return found


@router.get("/keys", summary="签名公钥 Public keys")
async def list_keys(db: Db, response: Response) -> list[KeyView]:
    """Every key that a head was ever signed with. Compare with what the association has printed elsewhere."""
    _keep(response, forever=False)
    return [
        KeyView(id=key.id, public_key=key.public_key.hex(), since=key.since) for key in await reading.keys(db)
    ]


@router.get("/leaves", summary="账本条目 Leaves", responses=problems(Invalid))
async def list_leaves(
    db: Db,
    response: Response,
    start: Annotated[int, Query(ge=0, le=2**53)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> LeavesView:
    """All of them, so that anybody can build the tree again and add up the books. Nothing in them is about a person."""
    found = await reading.leaves(db, start=start, limit=limit)
    _keep(response, forever=len(found) == limit)
    return LeavesView(start=start, leaves=found)


@router.get(
    "/transfers/{id}", summary="记账存在证明 Proof of a transfer", responses=problems(NotFound, NotSealedYet)
)
async def prove_transfer(
    db: Db, response: Response, id: uuid.UUID, size: Size | None = None
) -> InclusionView:
    """Under the latest head, or the one of this size."""
    found = await reading.inclusion(db, id, size=size)
    _keep(response, forever=size is not None)
    return InclusionView.model_validate(found)


@router.get(
    "/gifts/{number}", summary="捐款存在证明 Proof of a gift", responses=problems(NotFound, NotSealedYet)
)
async def prove_gift(
    db: Db,
    response: Response,
    number: Annotated[str, Path(min_length=1, max_length=30)],
    size: Size | None = None,
) -> InclusionView:
    """By the number on the certificate."""
    found = await reading.of_gift(db, number, size=size)
    _keep(response, forever=size is not None)
    return InclusionView.model_validate(found)


@router.get("/consistency", summary="一致性证明 Proof of consistency", responses=problems(Invalid, NotFound))
async def prove_consistency(db: Db, response: Response, first: Size, second: Size) -> ConsistencyView:
    """That nothing of the first `first` leaves was changed, removed or moved by the time there were `second`."""
    found = await reading.consistency(db, first=first, second=second)
    _keep(response, forever=True)
    return ConsistencyView.model_validate(found)
