"""Text that nobody expected: a config is read whole or refused by its own error; page and status are always made."""

import dataclasses
import json
import unicodedata

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from stores import CODE, CONFIGS, SEEDS, plan, scores

from qwerties.config import FIELDS, Config, Seeds
from qwerties.evidence import gather
from qwerties.ledger import make_ledger
from qwerties.report import render
from qwerties.status import read_status, table, to_json
from qwerties.tracking import ARTIFACTS, FAILURE, PROCESS, SUPERSEDED, StoreError, Tracked
from qwerties.verdicts import changes, make_verdicts, to_text
from qwerties.verdicts import table as verdict_table

FEW = settings(derandomize=True, deadline=None, database=None, max_examples=300)
PAGES = settings(
    FEW, max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)

# Configs

ODD = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["", "1x", "x1", "1,2", "(3,)", "nan", "-inf", "1e400", "1_000", "٣", "0x10", "²", "9" * 5000, "-0.0"]
    ),
    st.floats().map(str),
    st.integers().map(str),
    st.sampled_from([text for value in Config().to_params().values() for text in [value]]),
)


@FEW
@given(st.dictionaries(st.sampled_from([*FIELDS, "seeds", "other"]), ODD, max_size=6))
@example({"hidden": "9" * 5000})
@example({"epochs": "9" * 5000})
@example({"samples": "1" + "0" * 400})
@example({"learning_rate": "1e-400"})
@example({"hidden": "x".join(["1"] * 65)})
def test_params_are_a_config_or_a_value_error(params):
    try:
        config = Config.from_params(params)
    except ValueError as error:
        refusal = error
    else:
        refusal = None
    if refusal is not None:
        assert type(refusal) is ValueError
        assert any(name in str(refusal) for name in FIELDS)
        return
    again = Config.from_params(config.to_params())
    assert again == config
    assert again.to_params() == config.to_params()


@FEW
@given(st.text(max_size=20) | st.from_regex(r"\d{1,12}-\d{1,12}( x 0-\d{1,12})?", fullmatch=True))
def test_seeds_are_read_or_a_value_error(text):
    try:
        seeds = Seeds.parse(text)
    except ValueError:
        return
    assert Seeds.parse(str(seeds)) == seeds


# Stores

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
CONTRASTS = [{"a": CONFIGS[0].to_params(), "b": CONFIGS[1].to_params(), "delta": 0.01, "primary": True}]
KNOWN = {
    "qwerties.plan": json.loads(plan(*CONFIGS)),
    "qwerties.contrasts": CONTRASTS,
    "qwerties.figures": [{"kind": "scores"}, {"kind": "lines", "x": "epochs", "score": "phi"}],
    "qwerties.plan_changes": [{"when": "2026-01-01", "runs": 3, "what": ["margin"]}],
    "qwerties.order": 3,
}


@st.composite
def damaged(draw, document):
    """A document with one value somewhere in it replaced, or left out."""
    if isinstance(document, dict | list) and document and draw(st.integers(0, 3)):
        key = draw(
            st.sampled_from(list(document) if isinstance(document, dict) else list(range(len(document))))
        )
        copy = dict(document) if isinstance(document, dict) else list(document)
        if draw(st.booleans()):
            copy[key] = draw(damaged(copy[key]))
        else:
            del copy[key]
        return copy
    return draw(JSON)


@st.composite
def tags_of_experiments(draw):
    tags = {key: json.dumps(value) for key, value in KNOWN.items()}
    for key in draw(st.lists(st.sampled_from(list(KNOWN)), max_size=3, unique=True)):
        tags[key] = draw(st.one_of(damaged(KNOWN[key]).map(json.dumps), st.text(max_size=9)))
    for key in draw(
        st.lists(st.sampled_from(["qwerties.title", "qwerties.question", "mlflow.note.content"]))
    ):
        tags[key] = draw(st.text(max_size=30))
    return tags


SCORES = scores()


@st.composite
def files(draw):
    whole = {"seeds.csv": SCORES}
    if draw(st.booleans()):
        return whole
    content = draw(
        st.one_of(
            st.integers(0, len(SCORES)).map(lambda size: SCORES[:size]),
            st.binary(max_size=40),
            st.tuples(st.integers(0, len(SCORES) - 1), st.binary(min_size=1, max_size=3)).map(
                lambda pair: SCORES[: pair[0]] + pair[1] + SCORES[pair[0] + 1 :]
            ),
        )
    )
    return draw(st.sampled_from([{"seeds.csv": content}, {}, {**whole, "curves.npz": content}]))


@st.composite
def runs(draw, number):
    config = draw(st.sampled_from(CONFIGS))
    params = {**config.to_params(), "seeds": str(SEEDS)}
    for key in draw(st.lists(st.sampled_from(list(params)), max_size=1)):
        params[key] = draw(ODD)
    tags = {"qwerties.code": CODE}
    odd = st.sampled_from([PROCESS, FAILURE, SUPERSEDED, ARTIFACTS, "qwerties.code", "qwerties.state", "x"])
    for key in draw(st.lists(odd, max_size=2)):
        tags[key] = draw(st.text(max_size=20))
    return Tracked(
        run_id=f"r{number}",
        experiment_id="1",
        name=draw(st.text(max_size=20)),
        status=draw(st.sampled_from(["FINISHED", "FINISHED", "RUNNING", "FAILED", "KILLED", "SCHEDULED"])),
        parent=draw(st.sampled_from([None, None, None, "r0"])),
        params=params,
        metrics=draw(
            st.dictionaries(st.sampled_from(["phi", "train_accuracy", "other"]), st.floats(), max_size=2)
        ),
        tags=tags,
        artifact_uri=draw(st.sampled_from(["", "/nowhere", "file:///nowhere", "s3://x"])),
    )


class Shelf:
    """Stands for the store."""

    uri = "sqlite:////nowhere/mlflow.db"
    file = None

    def __init__(self, tags, found, files):
        self._tags, self._runs, self._files = tags, found, files

    def experiments(self):
        return {stem: ("1", tags) for stem, tags in sorted(self._tags.items())}

    def runs(self, experiment_id):
        return self._runs

    def read(self, run, path):
        try:
            return self._files[run.run_id][path]
        except KeyError:
            raise StoreError(f"run {run.run_id} ({run.name}): artifact {path} cannot be read") from None

    def lacks(self, run, path):
        return path not in self._files[run.run_id]

    def sizes(self, run):
        return {}

    def artifact_folders(self):
        return None


@st.composite
def stores(draw):
    found = [draw(runs(number)) for number in range(draw(st.integers(0, 4)))]
    stem = draw(st.text(min_size=1, max_size=12))
    return Shelf({stem: draw(tags_of_experiments())}, found, {run.run_id: draw(files()) for run in found})


@FEW
@given(stores())
def test_a_status_is_told_of_any_store(store):
    status = read_status(store)
    text = table(status)
    assert not {unicodedata.category(c) for line in text.split("\n") for c in line} & {
        "Cc",
        "Cf",
        "Cs",
        "Zl",
        "Zp",
    }
    document = to_json(status)
    assert json.loads(json.dumps(document)) == document
    for ledger in status.ledgers:
        top = [run for run in store.runs("1") if run.parent is None]
        told = [run for entry in ledger.entries for run in (*entry.runs, *entry.others)]
        assert len(told) == len({run.run_id for run in told})
        assert len(told) + ledger.superseded + len(ledger.loose) <= len(top)
        if ledger.plan is not None:
            assert sum(map(ledger.count, ("done", "missing", "running", "failed", "lost"))) == len(
                ledger.entries
            )


@PAGES
@given(stores())
@pytest.mark.filterwarnings("ignore")  # what NumPy and SciPy say of absurd scores is no crash
def test_a_page_is_made_of_any_store(store):
    evidence = gather(store)
    document = make_verdicts(evidence)
    again = json.loads(to_text(document))
    verdict_table(again)
    assert changes(again, again) == []
    page = render(store, evidence)
    assert page.startswith("<!")
    assert page.rstrip().endswith("</html>")
    assert not {"\0", "\x1b", "\u202e"} & set(page)


def test_the_stores_tried_are_not_all_broken():
    """The strategies above have a sound one within their reach."""
    tags = {key: json.dumps(value) for key, value in KNOWN.items()}
    run = Tracked(
        "r", "1", "n", "FINISHED", None, {**CONFIGS[0].to_params(), "seeds": str(SEEDS)}, {}, {}, ""
    )
    sound = [dataclasses.replace(run, run_id="r0", tags={"qwerties.code": CODE})]
    assert make_ledger("x", "1", tags, sound).count("done") == 1
    assert gather(Shelf({"x": tags}, sound, {"r0": {"seeds.csv": SCORES}}))[0].networks
