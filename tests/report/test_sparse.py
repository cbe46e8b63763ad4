"""Pages of stores that hold little, or what nobody expected: each is whole, and says what there is and what is not."""

import re

import pytest
from pages import BCE, MSE, Reader, record, section, table, tags

from qwerties.config import Config, Seeds
from qwerties.report.build import render, write_report
from qwerties.report.text import display

FEW, SOME = Seeds(0, 3), Seeds(0, 60)


def sound(page):
    """Elements closed, links inside the page that lead somewhere, no number that is none."""
    read = Reader(page)
    assert read.stack == []
    ids = {a["id"] for _, a in read.elements if "id" in a}
    assert {a["href"][1:] for a in read.all("a") if a["href"].startswith("#")} <= ids
    text = re.sub(r"<style>.*?</style>|<script.*?</script>|<[^>]+>", " ", page, flags=re.DOTALL)
    assert not re.search(r"\b(nan|inf|None|NaN)\b", text)
    return read


def fill(store, experiment_name, configs, seeds, *, tracked=None, **more):
    experiment_id = store.experiment(experiment_name, tags(configs, seeds, **more))
    for i, config in enumerate(configs if tracked is None else tracked):
        store.write(experiment_id, record(config, seeds, table(seeds, config, seed=i)))
    return experiment_id


def test_an_empty_store(store, tmp_path):
    written = write_report(store, tmp_path / "reports" / "summary.html")
    page = written.page.read_text()
    sound(page)
    assert "Nothing is tracked yet" in page
    assert (tmp_path / "reports" / "runs.csv").read_text().strip() == ""
    assert "\\midrule\n\\bottomrule" in (tmp_path / "reports" / "tables" / "findings.tex").read_text()


def test_a_plan_of_which_nothing_is_tracked(store):
    fill(store, "loss", [BCE, MSE], SOME, tracked=[], contrasts=[(BCE, MSE, True)])
    page = render(store)
    sound(page)
    assert "0 of 2 planned configs tracked; conclusions withheld until" in section(page, "loss")
    row = next(row for row in Reader(page).rows if row[0] == "A title" and len(row) == 9)
    assert row[1:] == ["0–59", "2", "0", "2", "0", "0", "0", "0"]


def test_one_experiment_alone(store):
    fill(store, "loss", [BCE, MSE], SOME, contrasts=[(BCE, MSE, True)])
    page = render(store)
    sound(page)
    assert "tracked as 2 runs in 1 experiment." in page
    assert len(re.findall(r'class="verdict[^"]*"><bdi>', section(page, "loss"))) == 1
    assert "is withheld" not in page


def test_one_config_alone(store):
    fill(store, "one", [BCE], SOME)
    sound(render(store))


@pytest.mark.parametrize("seeds", [Seeds(0, 1), FEW])
def test_a_few_seeds_only(store, seeds):
    fill(
        store,
        "loss",
        [BCE, MSE],
        seeds,
        contrasts=[(BCE, MSE, True)],
        figures=("scores", "outcomes", "losses"),
    )
    page = render(store)
    sound(page)
    assert re.search(r'class="verdict open"><bdi>It is open whether BCE or MSE does better: ', page)
    assert f"2 configs, {len(seeds)} seed" in section(page, "loss")


def test_one_config_failed(store):
    other = Config(activation="tanh")
    experiment_id = fill(
        store, "loss", [BCE, MSE, other], SOME, tracked=[BCE, MSE], contrasts=[(BCE, other, True)]
    )
    run = store.write(experiment_id, record(other, SOME, table(SOME, other)))
    store._client.set_terminated(run, "FAILED")
    page = render(store)
    read = sound(page)
    assert f"{display(other.label())}: its run failed" in section(page, "loss")
    told = re.findall(r'class="verdict[^"]*"><bdi>(.*?)</bdi>', page)
    assert len(told) == 1
    assert "is withheld: make sweep ONLY=loss" in told[0]
    row = next(row for row in read.rows if row[0] == "A title" and len(row) == 9)
    assert row[2:6] == ["3", "2", "0", "1"]


@pytest.mark.slow
def test_an_experiment_that_nobody_here_wrote(store):
    fill(store, "loss", [BCE, MSE], SOME, contrasts=[(BCE, MSE, True)])
    alone = section(render(store), "loss")
    fill(store, "mine", [BCE], SOME, figures=("pie", "scores"), order="not a number", title="My own")
    page = render(store)
    sound(page)
    text = section(page, "mine")
    assert "the figure of pie could not be drawn: the kind must be one of scores" in text
    assert "the tag qwerties.order cannot be read" in text
    assert text.count("<img") == 1
    kept = re.compile(r"Figure \d+|Table \d+|src=\"[^\"]*\"|alt=\"[^\"]*\"")
    assert kept.sub("", section(page, "loss")) == kept.sub("", alone)
