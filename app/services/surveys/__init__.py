"""Needs surveys: publishing a questionnaire, answering it once a year, seeing what the answers add up to."""

from app.services.surveys.answers import Answer
from app.services.surveys.counting import counts, due, progress
from app.services.surveys.responses import SurveyAnswered, SurveyClosed, SurveyReplaced, answer, asked, revise
from app.services.surveys.templates import (
    Choice,
    NewTemplate,
    PublishedMeanwhile,
    Question,
    QuestionType,
    ShownIf,
    listing,
    publish,
)

__all__ = [
    "Answer",
    "Choice",
    "NewTemplate",
    "PublishedMeanwhile",
    "Question",
    "QuestionType",
    "ShownIf",
    "SurveyAnswered",
    "SurveyClosed",
    "SurveyReplaced",
    "answer",
    "asked",
    "counts",
    "due",
    "listing",
    "progress",
    "publish",
    "revise",
]
