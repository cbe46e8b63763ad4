"""What a reader would see at a glance, for the tests of plots."""

from matplotlib.text import Text

from qwerties.plotting import style as theme


def words(ax):
    return [text.get_text() for text in ax.findobj(Text) if text.get_text()]


def overlapping(fig):
    """Pairs of texts that lie over each other, and texts that leave the card."""
    theme.png(fig)
    axes = [axis for ax in fig.axes for axis in (ax.xaxis, ax.yaxis)]
    hidden = {t.label1 for axis in axes for t in axis.majorTicks} - {
        t.label1 for axis in axes for t in axis._update_ticks()
    }
    shown = [t for t in fig.findobj(Text) if t.get_visible() and t.get_text().strip() and t not in hidden]
    boxes = [(t.get_text(), Text.get_window_extent(t)) for t in shown]
    card = fig.bbox
    cut = [n for n, b in boxes if b.x0 < -1 or b.y0 < -1 or b.x1 > card.x1 + 1 or b.y1 > card.y1 + 1]
    pairs = [
        (one, other)
        for k, (one, a) in enumerate(boxes)
        for other, b in boxes[:k]
        if min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1
    ]
    return cut, pairs
