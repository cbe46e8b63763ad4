"""Pictures in fewer bytes: half of an SVG is outlines of letters, and base64 adds a third to what a page embeds."""

from __future__ import annotations

import base64
import io
import re
from urllib.parse import quote

from markupsafe import Markup

COLORS = 64  # of a PNG: class colours, their shades, and the edges of letters
GLYPH = re.compile(r'<path id="g([\w-]+)" d="([^"]*)" transform="scale\(0\.015625\)"/>')
PLACE = re.compile(r' (?:d|x|y)="[^"]*"')


def compact_svg(content: bytes) -> bytes:
    """Shorten matplotlib's SVG: no prolog and comments; places to 1/10 point, letters to 1/400 of their size."""
    text = content.decode()
    text = re.sub(r"<!--.*?-->\n?", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = GLYPH.sub(_rounded, text)
    text = PLACE.sub(lambda place: re.sub(r"(\d\.\d)\d+", r"\1", place[0]).replace("\n", ""), text)
    text = re.sub(r'style="[^"]*"', lambda style: re.sub(r"([:;]) ", r"\1", style[0]), text)
    return re.sub(r">\n+<", "><", text).encode()


def _rounded(match: re.Match[str]) -> str:
    outline = re.sub(r"-?\d+(?:\.\d+)?", lambda number: str(round(float(number[0]) / 16)), match[2])
    return f'<path id="g{match[1]}" d="{outline}" transform="scale(.25)"/>'


def compact_png(content: bytes) -> bytes:
    """Return a PNG with a palette of its own."""
    from PIL import Image

    out = io.BytesIO()
    image = Image.open(io.BytesIO(content)).convert("RGB")
    image.quantize(COLORS, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()


def data_uri(content: bytes, suffix: str) -> Markup:
    """Return a picture as the value of ``src``: an SVG percent-encoded, which is shorter than base64."""
    if suffix != "svg":
        return Markup(f"data:image/{suffix};base64,{base64.b64encode(content).decode()}")
    text = re.sub(
        r'(?<= d=")[^"]*', lambda path: re.sub(r"(?<=\d) (?=[-\d])", ",", path[0].strip()), content.decode()
    )
    return Markup(f"data:image/svg+xml,{quote(text.replace(chr(34), chr(39)), safe=chr(39) + '=:/,;().!*')}")
