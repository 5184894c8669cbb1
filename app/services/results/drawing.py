"""A trend as SVG: small, without scripts or fonts of its own, and told in words for who cannot see it."""

from collections.abc import Iterator
from decimal import Decimal
from html import escape

from app.services.results.trends import Point, Trend

WIDTH, HEIGHT = 640, 320
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 48, 56
_STYLE = (
    "text{font:14px sans-serif;fill:#222}.t{font-size:16px;font-weight:bold}.r{fill:#cfe8d5}"
    ".l{fill:none;stroke:#1f5fa8;stroke-width:2}.p{fill:#1f5fa8}.o{fill:#b3261e}.a{stroke:#888}"
)


def svg(trend: Trend) -> str:
    """Dates run from left to right in their true distances; the bars behind the points are each laboratory's own
    range. A value outside of its range is a red square: not by its colour alone."""
    title = f"{trend.zh} {trend.en}（{trend.unit}）"
    scale = _Scale(trend.points)
    path = " ".join(f"{scale.x(one):.1f},{scale.y(one.value):.1f}" for one in trend.points)
    return "".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            'lang="zh-CN" aria-labelledby="t d">',
            f'<title id="t">{escape(title)}</title><desc id="d">{escape(described(trend))}</desc>',
            f'<style>{_STYLE}</style><text class="t" x="{LEFT}" y="26">{escape(title)}</text>',
            *(_bar(scale, one) for one in trend.points),
            *_axis(scale),
            f'<polyline class="l" points="{path}"/>',
            *(_mark(scale, one) for one in trend.points),
            *_dates(scale, trend.points),
            "</svg>",
        )
    )


def described(trend: Trend) -> str:
    """Every value in words, oldest first."""
    said = "；".join(
        f"{one.on.isoformat()} {one.value.normalize():f} {trend.unit}{_range(one)}" for one in trend.points
    )
    return f"共 {len(trend.points)} 次 {len(trend.points)} values. {said}"


def _range(one: Point) -> str:
    if one.low is None and one.high is None:
        return ""
    low, high = ("" if limit is None else f"{limit.normalize():f}" for limit in (one.low, one.high))
    return f"（参考 range {low}–{high}）"


class _Scale:
    """From days and values to places on the picture."""

    def __init__(self, points: list[Point]) -> None:
        limits = [limit for one in points for limit in (one.value, one.low, one.high) if limit is not None]
        low, high = float(min(limits)), float(max(limits))
        margin = (high - low) * 0.1 or abs(high) * 0.1 or 1.0
        self.low, self.high = low - margin, high + margin
        self.first = points[0].on
        self.days = max((points[-1].on - self.first).days, 1)
        self.single = points[0].on == points[-1].on

    def x(self, one: Point) -> float:
        part = 0.5 if self.single else (one.on - self.first).days / self.days
        return LEFT + 20 + part * (WIDTH - LEFT - RIGHT - 40)

    def y(self, value: Decimal | float) -> float:
        part = (float(value) - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)


def _bar(scale: _Scale, one: Point) -> str:
    if one.low is None and one.high is None:
        return ""
    top = scale.y(scale.high if one.high is None else one.high)
    bottom = scale.y(scale.low if one.low is None else one.low)
    return f'<rect class="r" x="{scale.x(one) - 10:.1f}" y="{top:.1f}" width="20" height="{max(bottom - top, 1):.1f}"/>'


def _axis(scale: _Scale) -> Iterator[str]:
    yield f'<path class="a" d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}" fill="none"/>'
    for part in (0.0, 0.5, 1.0):
        value = scale.low + part * (scale.high - scale.low)
        yield f'<text x="{LEFT - 8}" y="{scale.y(value) + 5:.1f}" text-anchor="end">{value:.4g}</text>'


def _outside(one: Point) -> bool:
    return (one.low is not None and one.value < one.low) or (one.high is not None and one.value > one.high)


def _mark(scale: _Scale, one: Point) -> str:
    x, y = scale.x(one), scale.y(one.value)
    label = f'<text x="{x:.1f}" y="{y - 10:.1f}" text-anchor="middle">{one.value.normalize():f}</text>'
    if _outside(one):
        return f'<rect class="o" x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10"/>{label}'
    return f'<circle class="p" cx="{x:.1f}" cy="{y:.1f}" r="5"/>{label}'


def _dates(scale: _Scale, points: list[Point]) -> Iterator[str]:
    """Those that have room."""
    last = -1000.0
    for one in points:
        x = scale.x(one)
        if x - last >= 84:
            last = x
            yield f'<text x="{x:.1f}" y="{HEIGHT - 28}" text-anchor="middle">{one.on.isoformat()}</text>'
