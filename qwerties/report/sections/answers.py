"""The course's questions, each answered in a few sentences that lead to their evidence."""

from __future__ import annotations

import re
from collections.abc import Sequence

from markupsafe import Markup, escape

from qwerties.analysis.contrasts import ExperimentResult
from qwerties.report.answers import MEASURED, MISSING, Answer, answers
from qwerties.report.elements import Section, Text
from qwerties.report.results import Results
from qwerties.stats.verdict import UNDECIDED

TITLE, ANCHOR = "Answers", "answers"
EMPHASISED = re.compile(
    r"(gains?|costs?) [\d.]+ points|equivalent within [\d.]+ points?|(is|are) ahead|[Ii]t is open|withheld"
)
OPEN = (*UNDECIDED, MISSING, MEASURED, "withheld")


def build(results: Results) -> Section | None:
    """Answer the questions; None where the study is not about them."""
    answered = answers_of(results.experiments)
    return Section([Text(_markup(answer, results), "answer") for answer in answered]) if answered else None


def answers_of(experiments: Sequence[ExperimentResult]) -> list[Answer]:
    """Return the answers; none for a study without any of the experiments that they rest on."""
    names, answered = {result.coverage.experiment_name for result in experiments}, answers(experiments)
    rests_on = {sentence.experiment_name for answer in answered for sentence in answer.sentences}
    return list(answered) if names & rests_on else []


def _markup(answer: Answer, results: Results) -> Markup:
    sentences = Markup(" ").join(
        Markup('<span class="{}">{}</span>').format(_role(sentence.code), _emphasised(sentence.text))
        for sentence in answer.sentences
    )
    links = results.section_links(sentence.experiment_name for sentence in answer.sentences)
    evidence = Markup(" Evidence: {}.").format(links) if links else ""
    return Markup('<h3>{}</h3>\n<p>{}</p>\n<p class="details">{}{}</p>').format(
        answer.question, sentences, answer.note, evidence
    )


def _emphasised(text: str) -> Markup:
    return Markup(EMPHASISED.sub(r"<strong>\g<0></strong>", str(escape(text))))


def _role(code: str) -> str:
    return "verdict" if code not in OPEN else "missing" if code in (MISSING, "withheld") else "measured"
