"""Results -> the answers to the course's questions, in sentences that verdict codes choose.

No conclusion stands here: a sentence is a template for a verdict's code, filled with the names of the arms and the
numbers of the store. The same answers serve the page, the terminal and the documentation.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from qwerties.config import DEFAULT, Config
from qwerties.errors import clean, command, plural
from qwerties.stats.formats import number, percent

if TYPE_CHECKING:
    from qwerties.analysis.contrasts import ContrastResult, ExperimentResult
    from qwerties.analysis.tables import SeedTable

MEASURED, MISSING = "measured", "missing"  # codes of sentences that no verdict made
WHOLE_POINTS = 0.1  # differences from here on are written without decimals
COUNTED = re.compile(r"(?!1 )\d[\d,]* [a-z][\w ]*")  # names that are plurals: `8 hidden units`


@dataclass(frozen=True)
class Sentence:
    """One sentence of an answer.

    Attributes
    ----------
    text : str
    experiment_name : str
        The experiment that holds the evidence.
    code : str
        The verdict's code (`stats.verdict.VERDICTS`), "withheld", `MEASURED` or `MISSING`.
    """

    text: str
    experiment_name: str
    code: str


@dataclass(frozen=True)
class Answer:
    """A question, what the store answers, and what follows from the mathematics alone."""

    key: str
    question: str
    sentences: tuple[Sentence, ...]
    note: str

    @property
    def text(self) -> str:
        """All sentences as one paragraph."""
        return " ".join(sentence.text for sentence in self.sentences)


@dataclass(frozen=True)
class Claim:
    """A contrast that an answer rests on, and the words for its arms.

    `a` and `b` are the arms' configs; fields in `free` are not compared, as a search chose them.
    """

    experiment_name: str
    a: Config | None
    b: Config
    arm_a: str
    arm_b: str
    where: str = ""
    free: tuple[str, ...] = ()

    def matches(self, result: ContrastResult) -> bool:
        """Tell whether a contrast is the one that is meant."""
        usual = {name: getattr(DEFAULT, name) for name in self.free}
        a, b = (replace(arm, **usual) for arm in (result.contrast.a, result.contrast.b))
        return (self.a is None or a == self.a) and b == self.b


XOR = Config(data="xor", hidden=(8,), learning_rate=0.1)
CLUSTERS = replace(XOR, data="clusters")
MSE = replace(DEFAULT, loss="mse")
LONG, WIDE = replace(DEFAULT, epochs=4000), replace(DEFAULT, hidden=(2,))
RATED = replace(DEFAULT, epochs=1000, learning_rate=0.15)


def _without(config: Config) -> Config:
    return replace(config, activation="linear")


QUESTIONS: Mapping[str, tuple[str, tuple[Claim, ...], str]] = {
    "relu": (
        "Why ReLU inside, and a sigmoid at the end?",
        (
            Claim(
                *("activation", DEFAULT, _without(DEFAULT), "ReLU", "no activation"),
                "On two clusters, with one hidden unit, ",
            ),
            Claim(*("xor", XOR, _without(XOR), "ReLU", "no activation"), "On XOR, with 8 hidden units, "),
            Claim(
                *("xor", CLUSTERS, _without(CLUSTERS), "ReLU", "no activation"),
                "On two clusters with the same 8 units, ",
            ),
        ),
        "A gradient vanishes with depth, and the notebook’s network has a single hidden layer. The sigmoid at the end "
        "turns any number into a probability.",
    ),
    "loss": (
        "Why BCE and not MSE?",
        (
            Claim("loss", DEFAULT, MSE, "BCE", "MSE", "At the same learning rate, "),
            Claim("loss", DEFAULT, replace(MSE, learning_rate=0.02), "BCE", "MSE at twice the learning rate"),
            Claim(
                *("tune_loss", DEFAULT, MSE, "BCE", "MSE", "With a learning rate tuned for each, "),
                free=("learning_rate",),
            ),
        ),
        "“A BCE problem” has two classes and a probability for an answer: BCE is the negative log-likelihood of such a "
        "label.",
    ),
    "longer": (
        "The curve has not flattened: train for longer?",
        (
            Claim("epochs", LONG, DEFAULT, "training for 4,000 epochs", "training for 2,000"),
            Claim("width", WIDE, DEFAULT, "a second hidden unit", "a single one"),
        ),
        "A dead network has no gradient, and stays as it is for any number of epochs.",
    ),
    "spread": (
        "Why is the same network sometimes very good and sometimes very poor?",
        (
            Claim(
                *("rate", RATED, _without(RATED), "ReLU", "no activation"),
                "At a learning rate of 0.15, fifteen times the notebook’s, ",
            ),
            Claim("tune_network", None, DEFAULT, "the best network of a search", "the notebook’s"),
        ),
        "Two runs of the notebook differ in nothing but their random data and initial weights.",
    ),
}


def answers(experiments: Sequence[ExperimentResult]) -> list[Answer]:
    """Answer the course's questions.

    Parameters
    ----------
    experiments : sequence of ExperimentResult
        From `load_results`.

    Returns
    -------
    list of Answer
        One for each question, in the course's order. Where an experiment is missing, the answer says which command
        trains it.
    """
    by_name = {result.coverage.experiment_name: result for result in experiments}
    answered = []
    for key, (question, claims, note) in QUESTIONS.items():
        sentences = [_sentence(claim, by_name.get(claim.experiment_name)) for claim in claims]
        sentences = list(dict.fromkeys(sentences))  # what is missing is said once
        measured = [sentence for sentence in MEASUREMENTS[key](by_name) if sentence.text]
        at = 0 if key == "spread" else len(sentences)
        answered.append(Answer(key, question, (*sentences[:at], *measured, *sentences[at:]), note))
    return answered


def _sentence(claim: Claim, experiment: ExperimentResult | None) -> Sentence:
    name = claim.experiment_name
    if experiment is None or not experiment.networks:
        text = f"Not measured yet: {command('sweep', name)} trains experiments/{name}.py."
        return Sentence(text, name, MISSING)
    result = next((result for result in experiment.findings if claim.matches(result)), None)
    if result is None:
        text = f"The experiment {name} does not compare {claim.arm_a} with {claim.arm_b}."
        return Sentence(text, name, MISSING)
    text = contrast_sentence(result, claim.arm_a, claim.arm_b, claim.where)
    if result.verdict not in (None, "open") and not result.contrast.primary:
        text = f"{text[:-1]}, an exploratory contrast."
    return Sentence(text, name, result.verdict or "withheld")


# A contrast in a sentence


def contrast_sentence(result: ContrastResult, a: str, b: str, where: str = "") -> str:
    """Tell the verdict on a contrast in points of accuracy.

    Parameters
    ----------
    result : ContrastResult
    a, b : str
        What to call the arms.
    where : str
        How the sentence begins, such as "On XOR, ".
    """
    comparison = result.comparison
    if comparison is None or result.verdict is None:
        missing = f"{command('sweep', clean(result.experiment_name))} trains what is missing"
        reason = result.withheld.removeprefix("withheld").removeprefix(": ") or missing
        return _capital(f"{where}the verdict on {a} against {b} is withheld: {reason}.")
    if result.verdict == "identical":
        return _capital(f"{where}{a} and {b} are identical on each of {plural(comparison.n, 'seed')}.")
    if result.verdict.startswith("b_"):
        comparison, (a, b), losing = comparison.swapped(), (b, a), True
    else:
        losing = False
    margin = points_of(comparison.margin)
    digits = 0 if abs(comparison.estimate) >= WHOLE_POINTS else 1
    size = number(100 * comparison.estimate, digits)
    low, high = (
        number(100 * end, digits, sign=comparison.low < 0) for end in (comparison.low, comparison.high)
    )
    needed = (
        f"about {plural(comparison.needed, 'seed')}"
        if comparison.needed
        else "no number of seeds within reach"
    )
    if comparison.verdict == "a_better":
        if losing:
            text = f"{b} {_verb(b, 'costs', 'cost')} {size} points of accuracy against {a} ({low} to {high})"
        else:
            text = f"{a} {_verb(a, 'gains', 'gain')} {size} points of accuracy over {b} ({low} to {high})"
    elif comparison.verdict == "a_ahead":
        text = (
            f"{a} {_verb(a, 'is', 'are')} ahead of {b} by {size} points of accuracy ({low} to {high}); whether by more "
            f"than {margin} is open, and {needed} would decide it"
        )
    elif comparison.verdict == "equivalent":
        ahead = a if comparison.low > 0 else b if comparison.high < 0 else ""
        slightly = f", {ahead} slightly ahead" if ahead else ""
        text = f"{a} and {b} are equivalent within {margin} of accuracy ({low} to {high}){slightly}"
    else:
        text = (
            f"it is open whether {a} or {b} {_verb(b, 'does', 'do')} better: their difference is {low} to {high} "
            f"points of accuracy, and {needed} would decide it"
        )
    return _capital(f"{where}{text}.")


def points_of(difference: float) -> str:
    """Write a difference in accuracy as points: 0.01 is `1 point`."""
    value = f"{100 * difference:g}"
    return f"{value} point{'' if value == '1' else 's'}"


def _verb(name: str, of_one: str, of_many: str) -> str:
    """Choose the form that agrees with an arm's name: `ReLU gains`, `4000 epochs gain`."""
    return of_many if COUNTED.fullmatch(name) else of_one


def _capital(text: str) -> str:
    """Begin with a capital, but for a symbol: `d=2` stays."""
    return text if re.match(r"\w=", text) else text[:1].upper() + text[1:]


# What is measured without a contrast


def _table(by_name: Mapping[str, ExperimentResult], name: str, config: Config) -> SeedTable | None:
    experiment = by_name.get(name)
    tables = experiment.networks.values() if experiment else ()
    return next((t for t in tables if t.config == config and "weight_seed" not in t.frame), None)


def _share(table: SeedTable, state: str) -> str:
    return percent(float((table.frame["state"] == state).mean()))


def _dead(by_name: Mapping[str, ExperimentResult]) -> list[Sentence]:
    table = _table(by_name, "activation", DEFAULT)
    if table is None:
        return []
    networks = plural(len(table.frame), "network")
    text = f"The price of ReLU is dead units: {_share(table, 'dead')} of {networks} are dead."
    return [Sentence(text, "activation", MEASURED)]


def _learned_by_epochs(by_name: Mapping[str, ExperimentResult]) -> list[Sentence]:
    short, long = (_table(by_name, "epochs", config) for config in (DEFAULT, LONG))
    if short is None or long is None:
        return []
    text = (
        f"{_share(short, 'learned')} of the networks have learned after {short.config.epochs:,} epochs and "
        f"{_share(long, 'learned')} after {long.config.epochs:,}; {_share(short, 'dead')} and "
        f"{_share(long, 'dead')} are dead."
    )
    return [Sentence(text, "epochs", MEASURED)]


def _states(by_name: Mapping[str, ExperimentResult]) -> list[Sentence]:
    table = _table(by_name, "notebook", DEFAULT)
    if table is None:
        return []
    states = [
        state for state in ("slow", "constant", "dead", "diverged") if table.frame["state"].eq(state).any()
    ]
    rest = ", ".join(f"{_share(table, state)} {'are ' * (i == 0)}{state}" for i, state in enumerate(states))
    text = f"On {plural(len(table.frame), 'seed')}, {_share(table, 'learned')} of the notebook’s networks learned"
    return [Sentence(f"{text}; {rest}." if rest else f"{text}.", "notebook", MEASURED)]


MEASUREMENTS = {
    "relu": _dead,
    "loss": lambda by_name: [],
    "longer": _learned_by_epochs,
    "spread": _states,
}


# As text


def to_text(answered: Sequence[Answer], width: int = 100) -> str:
    """Lay answers out for a terminal."""
    lines = []
    for answer in answered:
        lines.append(answer.question)
        lines += textwrap.wrap(answer.text, width, initial_indent="  ", subsequent_indent="  ")
    return "\n".join(lines)


def to_markdown(answered: Sequence[Answer]) -> str:
    """Write answers as Markdown: a heading for each question, then its sentences and what mathematics adds."""
    return (
        "\n\n".join(f"## {answer.question}\n\n{answer.text}\n\n{answer.note}" for answer in answered) + "\n"
    )
