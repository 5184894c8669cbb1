"""Stations: the places of the association that anybody may walk into."""

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class StationKind(StrEnum):
    """幸福寓所, 暖心家园, 家庭健康服务场所, 其他."""

    HAPPINESS_HOME = "happiness_home"
    WARM_HEART_HOME = "warm_heart_home"
    FAMILY_HEALTH_PLACE = "family_health_place"
    OTHER = "other"


class StationStatus(StrEnum):
    """Of what the public sees: `closed` is for good or for long, not for the night."""

    DRAFT = "draft"
    OPEN = "open"
    CLOSED = "closed"


class Station(Base):
    """All of it is public once it is open. Coordinates are GCJ-02, as WeChat's map wants them."""

    __tablename__ = "station"
    __table_args__ = (
        CheckConstraint("latitude BETWEEN 3 AND 54", name="latitude"),
        CheckConstraint("longitude BETWEEN 73 AND 136", name="longitude"),
        Index("ix_station_region_code", "region_code", "id"),
        Index(
            "ix_station_latitude_longitude_open",
            "latitude",
            "longitude",
            postgresql_where=text("status = 'open'"),
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    kind: Mapped[StationKind]
    region_code: Mapped[str] = mapped_column(ForeignKey("region.code"))
    address: Mapped[str]
    latitude: Mapped[float]
    longitude: Mapped[float]
    phone: Mapped[str | None]
    rooms: Mapped[list[dict[str, Any]]] = mapped_column(server_default="[]")
    devices: Mapped[list[dict[str, Any]]] = mapped_column(server_default="[]")
    hours: Mapped[list[dict[str, Any]]] = mapped_column(server_default="[]")
    closed_days: Mapped[list[dict[str, Any]]] = mapped_column(server_default="[]")
    status: Mapped[StationStatus]
    version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime]

    __mapper_args__ = {"version_id_col": version}
