"""The panel in a real browser: it trains what the study trains, and works by hand, by keyboard and without either."""

from types import SimpleNamespace

import numpy as np
import pytest
from pages import experiment_result, visiting

from qwerties.config import DEFAULT, Config, Seeds
from qwerties.report import panel_seeds, sections
from qwerties.report.build import compose
from qwerties.report.sections import panel
from qwerties.scoring.score import score
from qwerties.training.trainer import train

pytestmark = pytest.mark.browser

SEEDS = Seeds(panel_seeds.SEEDS.start, panel_seeds.SEEDS.stop)
MSE, XOR = Config(loss="mse"), Config(data="xor", hidden=(8,), learning_rate=0.1)


@pytest.fixture(scope="module")
def tables():
    """Scores of the panel's seeds, by training: the notebook's setting, and MSE."""
    return {config: scores(config) for config in (DEFAULT, MSE)}


@pytest.fixture(scope="module")
def address(tmp_path_factory, tables):
    """A page with the panel alone, whose study tracks the notebook's setting on these seeds."""
    path = tmp_path_factory.mktemp("page") / "summary.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sections, "SECTIONS", (panel,))
        results = [experiment_result("notebook", {DEFAULT: tables[DEFAULT]})]
        path.write_text(compose(SimpleNamespace(uri="sqlite://"), results).html())
    return path.as_uri()


@pytest.fixture
def visit(browser, address):
    with visiting(browser, address) as opened:
        yield opened


def scores(config):
    trained = train([config], SEEDS)[0]
    return score(config, SEEDS, trained.losses, trained.checkpoints, trained.weights).table


def network(page, number):
    return page.locator(".network").nth(number - 1)


def shown(page, number=1):
    return network(page, number).evaluate("(element) => ({...element.dataset})")


def choose(page, *configs):
    for name in ("data", "distance", "epochs"):
        page.select_option(f'[data-field="{name}"]', f"{getattr(configs[0], name)}".removesuffix(".0"))
    for number, config in enumerate(configs, 1):
        values = {"loss": config.loss, "activation": config.activation, "hidden": str(config.hidden[0])}
        for name, value in (values | {"learning_rate": f"{config.learning_rate:g}"}).items():
            network(page, number).locator(f'[data-field="{name}"]').select_option(value)


# What it trains is what the study trains


FIRST_SEEDS = """(count) => [...document.querySelectorAll('#panel_seeds input')].slice(0, count).map((input) => {
  input.click();
  return [...document.querySelectorAll('.network')].map(({ dataset: d }) =>
    [d.seed, d.epoch, d.loss, d.accuracy, d.population].map(Number).concat(d.state));
})"""


def check_seeds(page, tables, count, loss):
    choose(page, *tables)
    outcomes = page.evaluate(FIRST_SEEDS, count)
    for k, (config, table) in enumerate(tables.items()):
        table = table[:count]
        columns = zip(*(own[k] for own in outcomes), strict=True)
        seeds, epochs, losses, accuracies, populations, states = columns
        assert list(seeds) == table["seed"].tolist()
        assert set(epochs) == {config.epochs}
        np.testing.assert_allclose(losses, table["train_loss"], rtol=0, atol=loss)
        one_point = 0.0051  # of 200
        np.testing.assert_allclose(accuracies, table["train_accuracy"], rtol=0, atol=one_point)
        np.testing.assert_allclose(populations, table["population_accuracy"], rtol=0, atol=1e-3)
        assert list(states) == table["state"].tolist()


def test_every_seed_ends_as_it_is_tracked(visit, tables):
    page = visit(reduced_motion="reduce")
    check_seeds(page, tables, len(SEEDS), loss=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "second", "loss"),
    [
        (XOR, Config(data="xor", hidden=(8,), learning_rate=0.1, activation="tanh"), 1e-5),
        (
            Config(hidden=(2,), activation="sigmoid", distance=1.0, learning_rate=0.3),
            Config(hidden=(4,), activation="linear", loss="mse", distance=1.0, learning_rate=1.0),
            1e-5,
        ),
        # steps so large that the loss jumps: float32 and float64 part, here by 1e-4
        (Config(learning_rate=1.0), Config(learning_rate=0.1), 1e-3),
    ],
)
def test_other_settings_end_as_they_are_tracked(visit, first, second, loss):
    page = visit(reduced_motion="reduce")
    check_seeds(page, {config: scores(config) for config in (first, second)}, 6, loss)


def test_its_place_among_the_tracked(visit, tables):
    page = visit()
    own = float(shown(page)["population"])
    tracked = tables[DEFAULT]["population_accuracy"]
    bins = np.floor(tracked * 200)
    below = 100 * ((bins < np.floor(own * 200)).mean() + (bins == np.floor(own * 200)).mean() / 2)
    learned = 100 * (tables[DEFAULT]["state"] == "learned").mean()
    assert network(page, 1).locator(".place-text").inner_text() == (
        f"Of 24 tracked networks of this setting, {learned:.0f}% learned. "
        f"Yours is more accurate than about {below:.0f}% of them."
    )
    assert "does not track this setting" in network(page, 2).locator(".place-text").inner_text()


def test_all_seeds_at_once_are_counted_by_their_states(visit, tables):
    page = visit()
    page.click("#panel_all")
    page.wait_for_function("() => document.getElementById('panel_status').textContent.startsWith('Seeds')")
    text = page.inner_text("#panel_tally")
    for k, config in enumerate((DEFAULT, MSE), 1):
        for state, count in tables[config]["state"].value_counts().items():
            assert f"{count} {state}" in text.split("network ")[k]
    for seed, label in enumerate(page.locator("#panel_seeds input").all()):
        first, second = (tables[config]["state"][seed] for config in (DEFAULT, MSE))
        assert label.get_attribute("aria-label") == f"Seed {seed}, network 1 {first}, network 2 {second}"


PIXELS = """(canvas) => {
  const { width, height } = canvas, copy = Object.assign(document.createElement('canvas'), { width, height });
  const ink = copy.getContext('2d', { willReadFrequently: true });
  ink.drawImage(canvas, 0, 0);
  const at = ([x, y]) => [...ink.getImageData(x * width, y * height, 1, 1).data].slice(0, 3);
  return [[0.02, 0.3], [0.98, 0.7]].map(at);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_plane_is_shaded_by_class_in_the_schemes_colours(visit, scheme):
    page = visit(color_scheme=scheme)
    (r0, g0, b0), (r1, g1, b1) = network(page, 1).locator(".plane").evaluate(PIXELS)
    assert b0 > r0  # qwerties A, on the left, are blue
    assert r1 > b1
    assert (g0 + g1 > 256) == (scheme == "light")
    page.emulate_media(media="print")
    page.wait_for_timeout(200)
    on_paper = network(page, 1).locator(".plane").evaluate(PIXELS)
    assert all(sum(pixel) > 450 for pixel in on_paper)


# By hand, by keyboard, by itself


def test_it_opens_trained_and_at_rest(visit):
    page = visit()
    page.wait_for_timeout(300)
    assert [shown(page, k)["epoch"] for k in (1, 2)] == ["2000", "2000"]
    assert page.inner_text("#panel_clock") == "epoch 2,000 of 2,000"
    assert page.inner_text("#panel_run") == "Run"
    assert page.text_content("#panel_status") == ""
    assert not page.is_visible("#panel_static")
    assert page.get_attribute('[data-preset="0"]', "aria-pressed") == "true"


def test_run_pause_step_and_reset(visit):
    page = visit()
    page.click("#panel_reset")
    assert shown(page)["epoch"] == "0"
    page.fill("#panel_speed", "2")
    page.click("#panel_step")
    assert shown(page)["epoch"] == "5"
    assert page.inner_text("#panel_step") == "Step 5"
    page.click("#panel_run")
    assert page.inner_text("#panel_run") == "Pause"
    status = page.text_content("#panel_status")
    page.wait_for_function("() => Number(document.querySelector('.network').dataset.epoch) > 20")
    assert page.text_content("#panel_status") == status  # it does not talk on the way
    page.click("#panel_run")
    stopped = shown(page)["epoch"]
    assert int(stopped) % 5 == 0
    assert f"epoch {stopped} of 2,000. Network 1: " in page.text_content("#panel_status")
    page.wait_for_timeout(100)
    assert shown(page)["epoch"] == shown(page, 2)["epoch"] == stopped
    page.fill("#panel_speed", "7")
    page.click("#panel_run")
    page.wait_for_function("() => document.getElementById('panel_run').textContent === 'Run'")
    assert shown(page)["epoch"] == "2000"
    assert "epoch 2,000 of 2,000. Network 1: learned, loss 0.312." in page.text_content("#panel_status")


def test_what_has_run_runs_again_with_another_setting(visit):
    page = visit(reduced_motion="reduce")
    page.click('[data-preset="2"]')
    assert page.input_value('[data-field="data"]') == "xor"
    assert [shown(page, k)["state"] for k in (1, 2)] == ["learned", "slow"]
    network(page, 2).locator('[data-field="activation"]').select_option("tanh")
    assert [shown(page, k)["epoch"] for k in (1, 2)] == ["2000", "2000"]
    assert shown(page, 2)["state"] == "learned"
    assert page.get_attribute('[data-preset="2"]', "aria-pressed") == "false"
    page.click("#panel_reset")
    page.select_option('[data-field="distance"]', "6")
    assert shown(page)["epoch"] == "0"  # what has not run waits


def test_speed_is_epochs_a_frame_even_after_many_changes(visit):
    page = visit()
    page.fill("#panel_speed", "0")
    for preset in (1, 3, 4, 0):
        page.click(f'[data-preset="{preset}"]')
    steps = page.evaluate("""() => new Promise((done) => {
      const seen = [];
      const look = () => {
        seen.push(Number(document.querySelector('.network').dataset.epoch));
        seen.length < 12 ? requestAnimationFrame(look) : done(seen);
      };
      requestAnimationFrame(look);
    })""")
    assert set(np.diff(steps)) <= {0, 1}


def test_it_works_by_keyboard_alone(visit):
    page = visit()
    press, order = page.keyboard.press, []
    page.focus('[data-preset="0"]')
    for _ in range(22):  # stops of the panel
        order.append(
            page.evaluate("document.activeElement.id || document.activeElement.dataset.field || 'other'")
        )
        outline = page.evaluate(
            "(() => { const e = document.activeElement;"
            " return getComputedStyle(e.type === 'radio' ? e.nextElementSibling : e).outlineStyle; })()"
        )
        assert outline == "solid", order
        press("Tab")
    fields = ["loss", "activation", "hidden", "learning_rate"]
    buttons = ["panel_all", "panel_run", "panel_step", "panel_reset", "panel_speed"]
    presets, seeds = ["other"] * 5, ["other"]
    assert order == [*presets, "data", "distance", "epochs", *seeds, *buttons, *fields, *fields]
    page.focus("#panel_seeds input:checked")
    press("ArrowRight")
    page.wait_for_function("() => document.querySelector('.network').dataset.seed === '15'")
    page.wait_for_function("() => document.getElementById('panel_run').textContent === 'Run'")
    assert shown(page)["state"] == "constant"
    page.focus("#panel_speed")
    press("Home")
    assert page.get_attribute("#panel_speed", "aria-valuetext") == "epochs per frame: 1"
    page.focus("#panel_run")
    press("Enter")
    page.wait_for_function("() => Number(document.querySelector('.network').dataset.epoch) < 1000")
    press("Space")
    assert page.inner_text("#panel_run") == "Run"


def test_it_works_by_touch(visit):
    page = visit(360, has_touch=True)
    page.tap("#panel_seeds label:nth-child(11)")
    page.wait_for_function("() => document.querySelector('.network').dataset.seed === '10'")
    sizes = page.eval_on_selector_all(
        ".panel button, .panel select, #panel_seeds label",
        "(all) => all.map((e) => e.getBoundingClientRect()).map((box) => Math.min(box.width, box.height))",
    )
    assert min(sizes) >= 24


# For everyone


def test_without_a_script_a_sentence_says_so(visit):
    page = visit(java_script_enabled=False)
    assert page.is_visible("#panel_static")
    assert not page.is_visible("#panel_root")


def test_on_paper_there_are_pictures_and_words(visit):
    page = visit()
    page.emulate_media(media="print")
    assert page.locator(".panel canvas:visible").count() == 6
    assert network(page, 1).locator(".setting").inner_text() == (
        "two clusters at distance 4, BCE, ReLU, hidden units: 1, rate 0.01, seed 14, 2,000 epochs"
    )
