"""Data that no straight line can divide: what a hidden nonlinearity is for."""

from dataclasses import replace

from qwerties import Config, Contrast, Experiment, Figure, grid

WIDTHS = (1, 2, 4, 8, 16)
RATE, SLOW = 0.1, 0.01
XOR = Config(data="xor", hidden=(8,), learning_rate=RATE)

hidden = [(width,) for width in WIDTHS]
fast = grid(XOR, hidden=hidden, activation=("relu", "tanh", "sigmoid", "linear"))
slow = grid(replace(XOR, learning_rate=SLOW), hidden=hidden, activation=("relu", "sigmoid"))
clusters = grid(replace(XOR, data="clusters"), hidden=hidden, activation=("relu", "linear"))


def against(other: str, base: Config = XOR, primary: bool = False) -> Contrast:
    """Compare ReLU with another activation, everything else being equal."""
    return Contrast(base, replace(base, activation=other), primary=primary)


experiment = Experiment(
    title="Data that needs a hidden layer",
    question=(
        "On two clusters the best classifier is a straight line, so that a nonlinearity inside can gain nothing. Add "
        "two more clusters, diagonally, and no straight line comes near the best classifier. What does ReLU gain "
        "there, how many hidden units does it take, and does the difference *ReLU − linear* change its sign between "
        "the two arrangements? (Networks of different widths share a seed's data, not its weights.)"
    ),
    configs=(*fast, *slow, *clusters),
    contrasts=(
        against("linear", primary=True),
        against("linear", replace(XOR, data="clusters")),
        against("tanh"),
        against("sigmoid"),
        against("sigmoid", replace(XOR, learning_rate=SLOW)),
        Contrast(XOR, replace(XOR, learning_rate=SLOW)),
        Contrast(replace(XOR, hidden=(16,)), XOR),
    ),
    figures=(
        Figure("lines", x="hidden"),
        Figure("relu_minus_linear", x="hidden"),
    ),
    share=0.2,  # 16 hidden units cost as much as ten networks of the notebook's
    order=35,
)

if __name__ == "__main__":
    experiment.main()
