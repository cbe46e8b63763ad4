"""Every message that docs/troubleshooting.md quotes exists in the code, as far as it is quoted."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")


def quoted():
    """The messages of the tables' first columns, up to the section on what is no error."""
    rows = PAGE.partition("## Without an error")[0].splitlines()
    cells = [line.split(" | ")[0].removeprefix("| ") for line in rows if line.startswith("| ")]
    texts = [
        text.replace("\\`", "`") for cell in cells for text in re.findall(r"`((?:\\`|[^`])+)`(?=$|,)", cell)
    ]
    return [text for text in texts if text != "message"]


def written():
    """All texts in the code; what is filled in is an ellipsis."""
    texts = []
    for path in (ROOT / "qwerties").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
            elif isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
                texts.append("".join(parts))
    return [text.replace("...", "…") for text in texts]


def pattern(message):
    """A message with anything in the place of an ellipsis."""
    return re.compile(".*".join(re.escape(part) for part in message.split("…")), re.DOTALL)


def test_every_quoted_message_is_in_the_code():
    messages, texts = quoted(), "\n\0".join(written())
    assert len(messages) > 40
    absent = [
        message
        for message in messages
        if not re.search(pattern(message).pattern.replace(".*", "[^\0]*"), texts)
    ]
    assert absent == []
