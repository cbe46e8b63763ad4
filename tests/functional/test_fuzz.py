"""Text that nobody expected: a config is read whole or refused by its own error; page and status are always made."""

import dataclasses
import json
import unicodedata

import pytest
from factories import CODE, CONFIGS, plan, scores
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from qwerties.analysis.contrasts import load_results
from qwerties.cli.status import read_status, table
from qwerties.config import FIELDS, Config, Seeds
from qwerties.report.build import render
from qwerties.report.verdicts_file import changes, make_document, to_text
from qwerties.report.verdicts_file import table as verdict_table
from qwerties.study.coverage import make_coverage, read_coverages
from qwerties.tracking.records import Tracked
from qwerties.tracking.store import StoreError
from qwerties.tracking.tags import ARTIFACTS, FAILURE, PROCESS, SUPERSEDED

FEW = settings(derandomize=True, deadline=None, database=None, max_examples=200)
PAGES = settings(
    FEW, max_examples=20, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
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


@pytest.mark.slow
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
SEEDS = Seeds(0, 60)  # enough for a first look
KNOWN = {
    "qwerties.plan": json.loads(plan(*CONFIGS, seeds=SEEDS)),
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


SCORES = scores(SEEDS)
CUT = st.integers(0, len(SCORES)).map(lambda size: SCORES[:size])
ALTERED = st.tuples(st.integers(0, len(SCORES) - 1), st.binary(min_size=1, max_size=3)).map(
    lambda pair: SCORES[: pair[0]] + pair[1] + SCORES[pair[0] + 1 :]
)
CONTENT = CUT | ALTERED | st.binary(max_size=40)
RUN_TAGS = (
    PROCESS,
    FAILURE,
    SUPERSEDED,
    ARTIFACTS,
    "qwerties.code",
    "qwerties.state",
    "qwerties.version",
    "x",
)


def sound_run(number, config):
    params = {**config.to_params(), "seeds": str(SEEDS)}
    tags = {"qwerties.code": CODE, "qwerties.artifacts": "{}"}
    return Tracked(
        f"r{number}", "1", config.label(), "FINISHED", None, params, {"phi": 0.5}, tags, "/nowhere"
    )


@st.composite
def odd_run(draw, run):
    """A run with one thing about it that nobody expected."""
    kind = draw(st.sampled_from(["params", "tags", "name", "status", "parent", "metrics", "place"]))
    if kind == "params":
        return dataclasses.replace(
            run, params=run.params | {draw(st.sampled_from(list(run.params))): draw(ODD)}
        )
    if kind == "tags":
        return dataclasses.replace(
            run, tags=run.tags | {draw(st.sampled_from(RUN_TAGS)): draw(st.text(max_size=20))}
        )
    if kind == "name":
        return dataclasses.replace(run, name=draw(st.text(max_size=20)))
    if kind == "status":
        return dataclasses.replace(
            run, status=draw(st.sampled_from(["RUNNING", "FAILED", "KILLED", "SCHEDULED"]))
        )
    if kind == "parent":
        return dataclasses.replace(run, parent="r0")
    if kind == "metrics":
        return dataclasses.replace(run, metrics={draw(st.sampled_from(["phi", "other"])): draw(st.floats())})
    return dataclasses.replace(run, artifact_uri=draw(st.sampled_from(["", "file:///nowhere", "s3://x"])))


@st.composite
def stores(draw):
    """A sound store of one experiment, with up to three things about it that nobody expected."""
    tags = {key: json.dumps(value) for key, value in KNOWN.items()}
    found = [sound_run(number, config) for number, config in enumerate((*CONFIGS, CONFIGS[0]))]
    kept = {run.run_id: {"seeds.csv": SCORES} for run in found}
    experiment_name = draw(st.sampled_from(["pair", "<b>", "\0\u202e\n"]) | st.text(min_size=1, max_size=12))
    for kind in draw(st.lists(st.sampled_from(["plan", "text", "tag", "run", "run", "file"]), max_size=3)):
        place = draw(st.integers(0, len(found) - 1))
        key = draw(st.sampled_from(list(KNOWN)))
        if kind == "plan":
            tags[key] = json.dumps(draw(damaged(KNOWN[key])))
        elif kind == "text":
            tags[draw(st.sampled_from(["qwerties.title", "qwerties.question"]))] = draw(st.text(max_size=30))
        elif kind == "tag":
            tags[key] = draw(st.text(max_size=9))
        elif kind == "run":
            found[place] = draw(odd_run(found[place]))
        else:
            name = draw(st.sampled_from(["seeds.csv", "curves.npz"]))
            kept[found[place].run_id] = draw(st.sampled_from([{name: draw(CONTENT)}, {}]))
    return Shelf({experiment_name: tags}, found, kept)


class Shelf:
    """Stands for the store."""

    uri = "sqlite:////nowhere/mlflow.db"
    file = None

    def __init__(self, tags, found, files):
        self._tags, self._runs, self._files = tags, found, files

    def experiments(self):
        return {experiment_name: ("1", tags) for experiment_name, tags in sorted(self._tags.items())}

    def runs(self, experiment_id):
        return self._runs

    def maps(self):
        return self._runs

    def read(self, run, path):
        try:
            return self._files[run.run_id][path]
        except KeyError:
            raise StoreError(f"run {run.run_id} ({run.name}): artifact {path} cannot be read") from None

    def damaged(self, run):
        return [] if "seeds.csv" in self._files.get(run.run_id, ()) else ["seeds.csv"]

    def sizes(self, run):
        return {}

    def artifact_folders(self):
        return None


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
    assert json.loads(json.dumps(status)) == status
    for coverage in read_coverages(store):
        top = [run for run in store.runs("1") if run.parent is None]
        told = [run for entry in coverage.entries for run in (*entry.runs, *entry.others)]
        assert len(told) == len({run.run_id for run in told})
        assert len(told) + coverage.superseded + len(coverage.loose) <= len(top)
        if coverage.plan is not None:
            assert sum(map(coverage.count, ("done", "missing", "running", "failed", "damaged"))) == len(
                coverage.entries
            )


@pytest.mark.slow
@PAGES
@given(stores())
@pytest.mark.filterwarnings("ignore")  # what NumPy and SciPy say of absurd scores is no crash
def test_a_page_is_made_of_any_store(store):
    evidence = load_results(store)
    document = make_document(evidence)
    again = json.loads(to_text(document))
    verdict_table(again)
    assert changes(again, again) == []
    page = render(store)
    assert page.startswith("<!")
    assert page.rstrip().endswith("</html>")
    assert not {"\0", "\x1b", "\u202e"} & set(page)


@pytest.mark.slow
def test_the_stores_tried_are_mostly_whole():
    """The strategy above starts from a store whose verdict is told."""
    tags = {key: json.dumps(value) for key, value in KNOWN.items()}
    found = [sound_run(number, config) for number, config in enumerate(CONFIGS)]
    sound = Shelf({"x": tags}, found, {run.run_id: {"seeds.csv": SCORES} for run in found})
    [evidence] = load_results(sound)
    assert make_coverage("x", "1", tags, found).complete
    assert [finding.verdict for finding in evidence.findings] == ["identical"]
    assert render(sound).count("<img") >= 3
