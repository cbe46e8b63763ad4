"""The page in a real browser: the player works by hand and by keyboard, and draws what Python computes."""

import itertools
import os
import re
from pathlib import Path

import numpy as np
import pytest
from filmed import make_store

from qwerties.analysis.contrasts import load_results
from qwerties.plotting import style as theme
from qwerties.plotting.network import view
from qwerties.report.build import write_report
from qwerties.report.sections import player

pytestmark = pytest.mark.browser

CUT, LEFT, RIGHT = 3.0, '[data-side="left"]', '[data-side="right"]'
PLACES = (0, 9, 30, 44, 52)  # of checkpoints, the last one last


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    before, path = Path.cwd(), tmp_path_factory.mktemp("store")
    os.chdir(path)  # where MLflow puts artifacts
    yield path
    os.chdir(before)


@pytest.fixture(scope="module")
def store(folder):
    return make_store(folder)


@pytest.fixture(scope="module")
def cast(store):
    return player.choose(player.read_reels(store, load_results(store)))


@pytest.fixture(scope="module")
def address(store, folder):
    return write_report(store, folder / "reports" / "summary.html").page.as_uri()


@pytest.fixture
def visit(browser, address):
    """Open the page; at the end, nothing may have gone wrong in it."""
    contexts, told, requests = [], [], []

    def opened(width=1000, height=900, **settings):
        context = browser.new_context(viewport={"width": width, "height": height}, **settings)
        contexts.append(context)
        context.add_init_script(
            "addEventListener('securitypolicyviolation', (e) => console.error('policy', e.violatedDirective))"
        )
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(address)
        return page

    opened.told = told
    yield opened
    for context in contexts:
        context.close()
    assert told == []
    assert {url for url in requests if not url.startswith("data:")} == {address}


def choose(page, side, network, seed_place):
    for name, value in network.items():
        page.select_option(f'{side} [data-pick="{name}"]', value)
    page.select_option("#player-seed", index=seed_place)


def data(page, side=LEFT):
    return page.eval_on_selector(side, "panel => ({...panel.dataset})")


def plain(reel, film, k, points):
    """The logit in plain NumPy, by the weights of checkpoint k."""
    w0, w1, b, v, c = film.weights[k].astype(float)
    u = w0 * points[0] + w1 * points[1] + b
    act = {
        "relu": lambda: np.where(u > 0, u, 0),
        "linear": lambda: u,
        "tanh": lambda: np.tanh(u),
        "sigmoid": lambda: (1 + np.tanh(u / 2)) / 2,
    }[reel.config.activation]
    return v * act() + c


def each(cast):
    """Every config, two seeds each, at every one of the places: (reel, film, place of the seed, checkpoint)."""
    for i, reel in enumerate(cast.reels):
        for n in (i % len(cast.seeds), (i + 3) % len(cast.seeds)):
            yield reel, reel.films[cast.seeds[n]], n


# What it draws is what Python computes


def test_numbers_are_those_of_the_weights(visit, cast):
    page = visit()
    for reel, film, n in each(cast):
        choose(page, LEFT, {"loss": reel.config.loss, "activation": reel.config.activation}, n)
        y = np.arange(film.points.shape[1]) >= film.points.shape[1] / 2
        for k in PLACES:
            page.fill("#player-epoch", str(k))
            found = data(page)
            z = plain(reel, film, k, film.points.astype(float))
            loss = (
                np.logaddexp(0, np.where(y, -z, z))
                if reel.config.loss == "bce"
                else (1 / (1 + np.exp(-z)) - y) ** 2
            )
            assert found["network"] == f"{reel.config.loss} {reel.config.activation}"
            assert int(found["seed"]) == cast.seeds[n]
            assert int(found["epoch"]) == reel.checkpoints[k]
            assert float(found["loss"]) == pytest.approx(loss.mean(), rel=1e-9)
            assert float(found["accuracy"]) == pytest.approx(((z > 0) == y).mean())
            shown = page.inner_text(f'{LEFT} [data-number="accuracy"]')
            assert shown == f"{100 * float(found['accuracy']):.1f}%"
            if k == PLACES[-1]:
                assert found["state"] == film.state
            elif reel.checkpoints[k] + 1 in reel.epochs:  # the loss before the next update
                stored = film.losses[np.flatnonzero(reel.epochs == reel.checkpoints[k] + 1)[0]]
                assert float(found["loss"]) == pytest.approx(float(stored), rel=1e-5)


def test_the_line_is_where_the_probability_is_one_half(visit, cast):
    page = visit()
    crossing = 0
    for reel, film, n in each(cast):
        choose(page, LEFT, {"loss": reel.config.loss, "activation": reel.config.activation}, n)
        for k in PLACES:
            page.fill("#player-epoch", str(k))
            found = data(page)["boundary"]
            w = film.weights[k].astype(float)
            far = w[:2] / np.hypot(*w[:2])  # across every line of equal probability
            z = plain(reel, film, k, np.outer(far, [-1e7, *np.linspace(-100, 100, 4001), 1e7]))
            assert (found != "none") == (z.min() < 0 < z.max())
            if found != "none":
                a, b, c = map(float, found.split())
                on, step = -c * np.array([a, b]), 1e-6 * np.array([a, b])
                one, other = plain(reel, film, k, np.stack([on - step, on + step], axis=1))
                assert (one > 0) != (other > 0)
                assert np.hypot(a, b) == pytest.approx(1)
                crossing += 1
    assert crossing >= 10


PIXELS = """(canvas, [left, top, places]) => {
  const copy = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const { width, height } = Object.assign(copy.canvas, { width: canvas.width, height: canvas.height });
  copy.drawImage(canvas, 0, 0);
  const { data } = copy.getImageData(0, 0, width, height);
  return places.map(([x, y]) => Array.from({ length: 3 }, (_, i) => data[4 * (width * (top + y) + left + x) + i]));
}"""


@pytest.mark.parametrize(("scheme", "ratio"), [("light", 1), ("dark", 2)])
def test_the_shading_is_the_probability(visit, cast, scheme, ratio):
    page = visit(color_scheme=scheme, device_scale_factor=ratio)
    left, right, bottom, top = view(cast.reels[0].config.distance)
    sides = set()
    for reel, film, n in itertools.islice(each(cast), 0, None, 1 if ratio == 1 else 3):
        choose(page, RIGHT, {"loss": reel.config.loss, "activation": reel.config.activation}, n)
        for k in PLACES[::2]:
            page.fill("#player-epoch", str(k))
            found = data(page, RIGHT)
            x0, y0, width, height = map(int, found["plane"].split())
            assert width / height == pytest.approx((right - left) / (top - bottom), rel=0.01)
            down, across = np.mgrid[6 * ratio : height - 24 * ratio : 12, 6 * ratio : width - 6 * ratio : 12]
            at = np.stack([across.ravel(), down.ravel()], axis=1)
            seen = np.array(page.eval_on_selector(f"{RIGHT} .plane", PIXELS, [x0, y0, at.tolist()]))
            scale = width / (right - left)
            x = np.stack([left + (across.ravel() + 0.5) / scale, top - (down.ravel() + 0.5) / scale])
            clear = np.hypot(*(x[:, :, None] - film.points[:, None])).min(1) * scale > 9 * ratio
            clear &= np.abs(x[0] - CUT) * scale > 3 * ratio
            if found["boundary"] != "none":
                a, b, c = map(float, found["boundary"].split())
                clear &= np.abs(a * x[0] + b * x[1] + c) * scale > 3 * ratio
            z = plain(reel, film, k, x)
            wanted = np.rint(255 * theme.PROBABILITY(1 / (1 + np.exp(-z)))[:, :3])
            assert clear.sum() > 200
            assert np.abs(seen - wanted)[clear].max() <= 6
            sure = clear & (np.abs(z) > 0.15)  # blue on the side of class 0, orange on that of class 1
            assert ((seen[:, 0] > seen[:, 2])[sure] == (z > 0)[sure]).all()
            sides |= set((z > 0)[sure].tolist())
    assert sides == {False, True}


# By hand, by keyboard, by itself


def test_it_opens_on_the_end_and_does_not_start_by_itself(visit, cast):
    page = visit()
    page.wait_for_timeout(400)
    assert int(data(page)["epoch"]) == cast.reels[0].config.epochs
    assert (data(page)["network"], data(page, RIGHT)["network"]) == ("bce relu", "mse relu")
    assert page.inner_text("#player-play") == "Play"
    assert page.get_attribute("#player-epoch", "aria-valuetext") == "epoch 2,000 of 2,000"
    assert not page.is_visible("#player-figure .still")
    options = page.locator("#player-seed option").all_text_contents()
    first, second = (cast.reels[i].films for i in (cast.left, cast.right))
    for seed, option in zip(cast.seeds, options, strict=True):
        states = dict.fromkeys([first[seed].state, second[seed].state])
        assert option == f"seed {seed} · {' / '.join(states)}"


def test_a_seed_is_named_by_how_it_ends_under_what_is_chosen(visit, cast):
    page = visit()
    choose(page, LEFT, {"loss": "bce", "activation": "tanh"}, 0)
    choose(page, RIGHT, {"activation": "sigmoid"}, 0)
    films = {(reel.config.loss, reel.config.activation): reel.films for reel in cast.reels}
    for seed, option in zip(cast.seeds, page.locator("#player-seed option").all_text_contents(), strict=True):
        states = dict.fromkeys(films[pair][seed].state for pair in (("bce", "tanh"), ("mse", "sigmoid")))
        assert option == f"seed {seed} · {' / '.join(states)}"


def test_the_other_choice_gives_way_where_two_do_not_go_together(visit):
    page = visit()
    choose(page, LEFT, {"loss": "bce", "activation": "tanh"}, 0)
    page.select_option(f'{LEFT} [data-pick="loss"]', "mse")
    assert data(page)["network"] == "mse relu"
    assert page.input_value(f'{LEFT} [data-pick="activation"]') == "relu"
    disabled = page.locator(f'{LEFT} [data-pick="activation"] option:disabled').all_text_contents()
    assert disabled == ["tanh"]
    assert data(page, RIGHT)["network"] == "mse relu"


def test_it_plays_and_stops_by_mouse(visit, cast):
    page = visit()
    page.click("#player-play")
    assert page.inner_text("#player-play") == "Pause"
    page.wait_for_function("() => Number(document.getElementById('player-figure').dataset.epoch) > 2")
    assert page.text_content("#player-said") == ""  # it does not talk while it plays
    page.click("#player-play")
    stopped = data(page)["epoch"]
    assert int(stopped) in cast.reels[0].checkpoints
    page.wait_for_function("() => document.getElementById('player-said').textContent")
    assert f"Epoch {stopped}. left: bce, relu: loss" in page.text_content("#player-said")
    assert f"at epoch {stopped}. bce, relu: loss" in page.get_attribute(f"{LEFT} .plane", "aria-label")
    assert data(page)["epoch"] == data(page, RIGHT)["epoch"] == stopped

    page.fill("#player-epoch", "51")
    page.click("#player-play")
    page.wait_for_function("() => document.getElementById('player-play').textContent === 'Play'")
    assert int(data(page)["epoch"]) == cast.reels[0].config.epochs


def test_a_drag_along_the_loss_moves_the_cursor(visit, cast):
    page = visit()
    page.locator(f"{LEFT} .curve").scroll_into_view_if_needed()
    box = page.locator(f"{LEFT} .curve").bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 34, y)
    page.mouse.down()
    assert data(page)["epoch"] == "0"
    page.mouse.move(box["x"] + 32 + (box["width"] - 48) * np.log1p(100) / np.log1p(2000), y, steps=4)
    page.mouse.up()
    assert data(page)["epoch"] == "100"
    page.mouse.move(box["x"] + 34, y)
    assert data(page)["epoch"] == "100"


def test_it_works_by_keyboard_alone(visit, cast):
    page, checkpoints = visit(), cast.reels[0].checkpoints.tolist()
    reached, outlined = [], []
    page.focus("#player-play")
    for _ in range(8):
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.dataset.pick"))
        outlined.append(page.evaluate("getComputedStyle(document.activeElement).outlineStyle"))
        page.keyboard.press("Tab")
    expected = ["player-play", "player-epoch", "player-seed", "player-stage"]
    assert reached == [*expected, *["loss", "activation"] * 2]
    assert set(outlined[1:]) == {"solid"}

    def epoch_after(key):
        page.keyboard.press(key)
        return int(data(page)["epoch"])

    for place in ("#player-stage", "#player-epoch", "#player-play"):
        page.focus(place)
        assert epoch_after("End") == 2000
        assert epoch_after("ArrowLeft") == checkpoints[-2]
        assert epoch_after("Home") == 0
        assert epoch_after("ArrowRight") == checkpoints[1]
        assert epoch_after("ArrowRight") == checkpoints[2]
        before = page.evaluate("scrollY")
        page.keyboard.press("Space")
        assert page.inner_text("#player-play") == "Pause"
        page.wait_for_function("() => Number(document.getElementById('player-figure').dataset.epoch) > 2")
        page.keyboard.press("Space")
        assert page.inner_text("#player-play") == "Play"
        assert page.evaluate("scrollY") == before
    page.focus(f'{LEFT} [data-pick="activation"]')
    held = data(page)["epoch"]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert data(page)["epoch"] == held


COUNT = """(seconds) => new Promise((done) => {
  const canvas = document.querySelector('[data-side="left"] .curve'), seen = new Set();
  const until = performance.now() + 1000 * seconds;
  const look = () => {
    seen.add(canvas.toDataURL());
    performance.now() < until ? requestAnimationFrame(look) : done(seen.size);
  };
  look();
})"""


def test_it_steps_where_motion_is_not_wanted(visit):
    calm = visit(reduced_motion="reduce")
    calm.click("#player-play")
    assert calm.evaluate(COUNT, 1.5) <= 4
    moving = visit()
    moving.click("#player-play")
    assert moving.evaluate(COUNT, 1.5) > 4


# The rest of the page


def column(page, place, table="#losses ~ .scroll table"):
    return page.eval_on_selector_all(
        f"{table} tbody tr", "(rows, k) => rows.map((row) => row.cells[k].firstChild.textContent)", place
    )


def test_tables_sort_by_their_columns(visit):
    page = visit()
    before = [column(page, place) for place in (0, 3)]
    header = page.locator("#losses ~ .scroll table th", has_text="Slow")
    assert header.get_attribute("aria-sort") is None
    header.get_by_role("button").press("Enter")
    assert header.get_attribute("aria-sort") == "ascending"
    assert column(page, 3) == sorted(before[1], key=int)
    header.get_by_role("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    assert column(page, 3) == sorted(before[1], key=int, reverse=True)
    names = page.locator("#losses ~ .scroll table th", has_text="Config")
    names.get_by_role("button").click()
    assert header.get_attribute("aria-sort") is None
    assert column(page, 0) == sorted(before[0])
    for _ in range(2):
        names.get_by_role("button").click()
    assert names.get_attribute("aria-sort") is None
    assert [column(page, place) for place in (0, 3)] == before


def test_the_navigation_follows_the_reader(visit):
    page = visit(1400)
    assert page.evaluate("getComputedStyle(document.querySelector('nav')).position") == "fixed"
    current = "nav a[aria-current]"
    for name in ("losses", "reading", "questions"):
        page.evaluate("(id) => document.getElementById(id).scrollIntoView()", name)
        page.wait_for_selector(f'{current}[href="#{name}"]')
        assert page.locator(current).count() == 1
    left, right = (page.locator(part).bounding_box() for part in ("nav", "main"))
    assert left["x"] + left["width"] <= right["x"]
    assert visit(1100).evaluate("getComputedStyle(document.querySelector('nav')).position") == "static"


def test_without_a_script_there_is_a_plain_table_and_a_list(visit):
    page = visit(java_script_enabled=False)
    assert page.locator("th button").count() == 0
    assert page.is_visible("nav a[href='#losses']")


# For everyone


@pytest.mark.parametrize("width", [360, 800, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_can_be_read(visit, width, scheme):
    page = visit(width, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for selector in (".panel", ".transport", "#player-play", "#player-seed", "#player-clock", ".numbers"):
        for box in (found.bounding_box() for found in page.locator(selector).all()):
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
    assert page.locator(f"{LEFT} .plane").bounding_box()["width"] > 300
    script = """(selector) => {
      const element = document.querySelector(selector), opaque = (e) => {
        const color = getComputedStyle(e).backgroundColor;
        return !color.startsWith('rgba') ? color : e.parentElement ? opaque(e.parentElement) : 'rgb(255, 255, 255)';
      };
      return [getComputedStyle(element).color, opaque(element)];
    }"""
    for selector in (
        "#player-play",
        "#player-seed",
        "#player-clock",
        ".hint",
        ".key li",
        ".numbers dt",
        ".numbers dd",
    ):
        colors = [
            "#{:02x}{:02x}{:02x}".format(*map(int, re.findall(r"\d+", c)[:3]))
            for c in page.evaluate(script, selector)
        ]
        assert theme.contrast(*colors) >= 4.5, (selector, colors)


def test_without_a_script_the_still_stands_in_its_place(visit, cast):
    page = visit(java_script_enabled=False)
    assert page.is_visible("#player-figure .still img")
    assert not page.is_visible("#player")
    assert f"seed {cast.seeds[cast.seed]}" in page.get_attribute("#player-figure img", "alt")


def test_on_paper_the_still_stands_in_its_place(visit):
    page = visit()
    assert page.is_visible("#player")
    page.emulate_media(media="print")
    assert page.is_visible("#player-figure .still img")
    assert not page.is_visible("#player")


def test_the_policy_lets_nothing_else_run(visit):
    page = visit()
    page.evaluate("""() => {
      const script = document.createElement('script');
      script.textContent = 'document.title = "broken into"';
      document.body.append(script);
      const link = document.createElement('a');
      link.setAttribute('onclick', 'document.title = "broken into"');
      document.body.append(link);
      link.click();
      document.body.setAttribute('style', 'margin-left: 77px');
    }""")
    assert page.title() != "broken into"
    assert page.evaluate("getComputedStyle(document.body).marginLeft") != "77px"
    names = ["data", "player", "figure", "seeds", "now", "draw"]
    assert not any(page.evaluate("(names) => names.map((name) => Object.hasOwn(window, name))", names))
    assert sum("policy" in text for text in visit.told) == 3
    visit.told.clear()
