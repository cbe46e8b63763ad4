"""More hidden units."""

from dataclasses import replace
from itertools import pairwise

from qwerties import DEFAULT, Contrast, Experiment, Figure, grid

WIDTHS = (1, 2, 4, 8, 16)

experiment = Experiment(
    title="More hidden units",
    question=(
        "A hidden layer of one ReLU unit is dead as soon as that unit is. How many units does it take until hardly a "
        "network is lost? (Networks of different widths share a seed's data, not its weights.)"
    ),
    configs=grid(hidden=[(width,) for width in WIDTHS]),
    contrasts=tuple(
        Contrast(replace(DEFAULT, hidden=(wide,)), replace(DEFAULT, hidden=(narrow,)))
        for narrow, wide in pairwise(WIDTHS)
    ),
    figures=(
        Figure("outcomes"),
        Figure("lines", x="hidden", score="population_accuracy"),
    ),
    order=60,
)

if __name__ == "__main__":
    experiment.main()
