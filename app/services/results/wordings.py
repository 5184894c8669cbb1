"""What a result sheet says: of each risk class, and as a whole. A rule may have words of its own (risk.RiskRule)."""

from enum import StrEnum

from app.models.results import RiskClass

MEANING: dict[RiskClass, tuple[str, str]] = {
    RiskClass.GENERAL: (
        "一般人群：未发现可能影响生育的风险因素",
        "General population: no risk factor was found",
    ),
    RiskClass.A: (
        "A 类：改变生活方式或脱离有害环境即可避免的风险",
        "A: avoidable by changing habits or surroundings",
    ),
    RiskClass.B: (
        "B 类：经治疗可以消除的风险，建议先治疗再怀孕",
        "B: treatable; treatment before pregnancy is advised",
    ),
    RiskClass.C: (
        "C 类：目前不能治愈但可以控制的风险，孕期需密切监测",
        "C: controllable; pregnancy under close monitoring",
    ),
    RiskClass.D: (
        "D 类：需接受遗传咨询、评估再发风险，孕期需做产前诊断",
        "D: needs genetic counselling and prenatal diagnosis",
    ),
    RiskClass.X: (
        "X 类：目前不宜怀孕，请先接受专科诊治",
        "X: pregnancy is not advised now; see a specialist first",
    ),
}


class Wording(StrEnum):
    """The three wordings of the national result sheet."""

    NONE_FOUND = "none_found"
    ONE_SPOUSE = "one_spouse"
    RISK_FOUND = "risk_found"


WORDINGS: dict[Wording, tuple[str, str]] = {
    Wording.NONE_FOUND: (
        "本次检查未发现可能影响生育的风险因素。",
        "No risk factor was found in this check.",
    ),
    Wording.ONE_SPOUSE: (
        "本次仅评估了夫妻一方，请另一方尽快前来检查。",
        "Only one spouse was assessed; the other should come for the check.",
    ),
    Wording.RISK_FOUND: (
        "本次检查发现风险因素，请到医院进一步咨询和诊治。",
        "A risk was found; please seek further care.",
    ),
}
