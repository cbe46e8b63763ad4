"""Other people's text -> what a page may show.

Text from the store is untrusted. `errors.clean` makes it printable and short; escaping is the template's, which
escapes whatever is not `Markup`. `markdown` alone makes `Markup` of foreign text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import jinja2
from markdown_it import MarkdownIt
from markupsafe import Markup

from qwerties.errors import MAX_NAME, clean, plural

MAX_TEXT = 6000  # characters of the longest text shown
NAMES = {
    "bce": "BCE",
    "mse": "MSE",
    "relu": "ReLU",
    "xor": "XOR",
    "sgd": "SGD",
    "adam": "Adam",
    "tpe": "TPE",
    "qmc": "QMC",
}
TEMPLATES = Path(__file__).with_name("templates")


def source(name: str) -> str:
    """Return the text of a template, style or script as it stands."""
    return (TEMPLATES / name).read_text(encoding="utf-8")


def fill(name: str, **values: object) -> Markup:
    """Fill in a template; whatever is not `Markup` is escaped, and a value that is missing is an error."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return Markup(environment.from_string(source(name)).render(values))


def markdown(text: str) -> Markup:
    """Render CommonMark without HTML, headings and images; controls become U+FFFD."""
    lines = text[:MAX_TEXT].expandtabs(4).replace("\r\n", "\n").replace("\r", "\n")
    printable = "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in lines)
    # headings would break the page's own outline, and an image would ask the network for something
    parser = MarkdownIt("commonmark", {"html": False, "typographer": True})
    parser.enable("smartquotes").disable(["heading", "lheading", "image"])
    return Markup(parser.render(printable))


def typeset(text: object, limit: int = MAX_NAME) -> str:
    """Return `clean` text with apostrophes as printers set them."""
    return clean(text, limit).replace("'", "’")


def slug(text: str, taken: set[str]) -> str:
    """Make an id that is not taken yet, and take it."""
    base = re.sub(r"[^a-z0-9]+", "-", text.lower()[:60]).strip("-") or "section"
    anchor, count = base, 1
    while anchor in taken:
        count += 1
        anchor = f"{base}-{count}"
    taken.add(anchor)
    return anchor


def display_all(names: Sequence[object]) -> list[str]:
    """Write names as `display` does, with numbers in full where rounding would give two of them the same name."""
    shown = [display(name) for name in names]
    return shown if len(set(shown)) == len(set(names)) else [display(name, digits=6) for name in names]


def display(name: object, digits: int = 3) -> str:
    """Write the name of a config or an arm as people do: `bce · lr 0.335321` becomes `BCE · rate 0.335`."""
    text = re.sub(rf"\b({'|'.join(NAMES)})\b", lambda match: NAMES[match[1]], typeset(name, 300))
    text = re.sub(r"\bhidden (\d+)\b(?!x)", lambda match: plural(int(match[1]), "hidden unit"), text)
    text = re.sub(r"(?<![\d.])1 epochs\b", "1 epoch", text)

    def rounded(match: re.Match[str]) -> str:
        return f"{match[1].replace('lr', 'rate')} {float(f'{float(match[2]):.{digits}g}'):g}"

    return re.sub(r"\b(lr|momentum|output scale) (\d+(?:\.\d+)?(?:e[+-]?\d+)?)\b", rounded, text)
