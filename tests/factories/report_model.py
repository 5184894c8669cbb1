"""What a report must end as, written apart from the product's own code: for the tests of its properties."""

from dataclasses import dataclass, field

#: Finding → the value that makes it, the class it must lead to.
FINDINGS = {
    None: ("", "general"), "smoking": ("yes", "A"), "hbsag": ("positive", "C"), "genetic_disease_history": ("yes", "D"),
}  # fmt: skip
STATUSES = ["registered", "preliminary", "final", "amended", "corrected", "entered_in_error", "cancelled"]
RELEASED = {"final", "amended", "corrected"}


def may_follow(last: str, status: str, *, adjacent: bool) -> bool:
    """Written apart from the product's own table."""
    if last in {"cancelled", "entered_in_error"}:
        return False
    if last in RELEASED:
        return status in RELEASED - {"final"} or status == "entered_in_error"
    if status in {"amended", "corrected", "entered_in_error"}:
        return not adjacent
    return status != "registered"


@dataclass(frozen=True)
class Content:
    status: str
    finding: str | None


@dataclass
class ModelReport:
    """The first content that came under each version, and nothing else."""

    versions: dict[int, Content] = field(default_factory=dict)

    def counted(self) -> list[int]:
        legal: list[int] = []
        for version in sorted(self.versions):
            if legal:
                last = legal[-1]
                here = self.versions[version].status
                if not may_follow(self.versions[last].status, here, adjacent=version == last + 1):
                    continue
            legal.append(version)
        return legal

    def deliver(self, version: int, content: Content) -> str:
        if version in self.versions:
            if self.versions[version] != content:
                return "report-conflict"
            return "replayed" if version in self.counted() else "illegal-report-status"
        self.versions[version] = content
        counted = self.counted()
        if version not in counted:
            return "illegal-report-status"
        return "accepted" if counted[-1] == version else "stale"

    def state(self) -> tuple[int, str, str | None] | None:
        if not self.versions:
            return None
        current = self.counted()[-1]
        content = self.versions[current]
        found = FINDINGS[content.finding][1] if content.status in RELEASED else None
        return current, content.status, found
