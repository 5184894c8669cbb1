"""Whether answers fit their questions."""

import json
from typing import Annotated, Any

from pydantic import Field

from app.errors import Invalid, place
from app.services.plain import Body, Note
from app.services.surveys.templates import Code, Question, QuestionType, Whole

Why = tuple[str, str]
UNKNOWN = "问卷中没有这一题", "no such question"
TWICE = "这一题回答了两次", "answered twice"
NOT_ASKED = "按前面的回答，这一题不用回答", "not asked after the earlier answers"
ONE_KIND = "请只按这一题的题型作答", "answer in the way of the question's type only"
ONE_CHOICE = "请选择一项", "choose one of the choices"
CHOICES = "请从选项中选择，不要重复", "choose of the choices, each once"
TOO_MUCH = "数字超出范围", "the number is too large"


class Answer(Body):
    """To one question: `choices` of what is to choose, else `number` or `text`. A question not answered is left
    out."""

    question: Code
    choices: Annotated[list[Code], Field(max_length=30)] = []
    number: Whole | None = None
    text: Note | None = None


def check(questions: list[Question], answers: list[Answer]) -> tuple[dict[str, Any], str | None]:
    """Choices and numbers by question, and apart from them as one JSON text what was written freely. Invalid with
    every wrong place at once."""
    places = {answer.question: number for number, answer in enumerate(answers)}
    errors = [
        place(f"/answers/{number}", *TWICE)
        for number, answer in enumerate(answers)
        if places[answer.question] != number
    ]
    kept: dict[str, Any] = {}
    for question in questions:
        asked = question.shown_if is None or question.shown_if.choice in kept.get(
            question.shown_if.question, ()
        )
        number = places.pop(question.id, None)
        if number is not None:
            why = _wrong(question, answers[number]) if asked else NOT_ASKED
            if why:
                errors.append(place(f"/answers/{number}", *why))
            else:
                kept[question.id] = _value(answers[number])
        elif asked and question.required:
            errors.append(place("/answers", f"请回答：{question.zh}", f"not answered: {question.en}"))
    errors += [place(f"/answers/{number}/question", *UNKNOWN) for number in places.values()]
    if errors:
        raise Invalid(errors=errors)
    texts = {
        one.id: kept.pop(one.id) for one in questions if one.id in kept and one.type is QuestionType.TEXT
    }
    return kept, json.dumps(texts, ensure_ascii=False) if texts else None


def _wrong(question: Question, answer: Answer) -> Why | None:
    """What is wrong with an answer to this question."""
    given = (bool(answer.choices), answer.number is not None, answer.text is not None)
    if question.type in (QuestionType.NUMBER, QuestionType.TEXT):
        expected = (False, question.type is QuestionType.NUMBER, question.type is QuestionType.TEXT)
        if given != expected:
            return ONE_KIND
        return TOO_MUCH if (answer.number or 0) > question.most else None
    if given != (True, False, False):
        return ONE_KIND
    chosen = set(answer.choices)
    if question.type is QuestionType.SINGLE and len(answer.choices) != 1:
        return ONE_CHOICE
    known = {choice.code for choice in question.choices}
    return None if chosen <= known and len(chosen) == len(answer.choices) else CHOICES


def _value(answer: Answer) -> Any:
    return answer.choices or answer.text or answer.number


def as_given(answers: dict[str, Any], texts: str | None) -> list[dict[str, Any]]:
    """What `check` kept, as `Answer`s again, by question."""
    shapes: dict[str, dict[str, Any]] = {
        question: {"choices": value} if isinstance(value, list) else {"number": value}
        for question, value in answers.items()
    }
    shapes |= {question: {"text": text} for question, text in json.loads(texts or "{}").items()}
    blank: dict[str, Any] = {"choices": [], "number": None, "text": None}
    return [{"question": question, **blank, **shapes[question]} for question in sorted(shapes)]
