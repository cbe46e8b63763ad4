"""The vanishing gradient, by depth, activation and initialisation."""

from qwerties import Experiment, Figure, grid

DEPTHS = (1, 2, 4, 8)
WIDTH = 8

experiment = Experiment(
    title="The vanishing gradient",
    question=(
        "What is a vanishing gradient, and does ReLU mitigate it? Before the first update, how much smaller is the "
        "gradient of the first layer than that of the last, by depth and activation? PyTorch's initial weights have "
        "variance 1/(3·fan-in), so that even a linear network shrinks its signal; He's, with 2/fan-in, are shown "
        "beside them."
    ),
    configs=grid(
        hidden=[(WIDTH,) * depth for depth in DEPTHS],
        activation=("relu", "linear", "tanh", "sigmoid"),
        init=("pytorch", "he"),
    ),
    figures=(Figure("gradients"), Figure("outcomes")),
    share=0.05,  # a network of eight layers costs as much as sixty of the notebook's
    order=70,
)

if __name__ == "__main__":
    experiment.main()
