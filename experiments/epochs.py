"""Is the loss done falling? Training for longer."""

from dataclasses import replace

from qwerties import DEFAULT, Contrast, Experiment, Figure, grid

EPOCHS = (500, 1000, 1500, 2000, 4000, 8000)

experiment = Experiment(
    title="Is the loss done falling",
    question=(
        "The notebook's curve has not flattened at 1500 epochs. Would training for longer help, and whom? Networks "
        "that differ in epochs alone are trained once and read off at several points."
    ),
    configs=grid(loss=("bce", "mse"), activation=("relu", "linear"), epochs=EPOCHS),
    contrasts=(
        Contrast(replace(DEFAULT, epochs=4000), DEFAULT, primary=True),
        Contrast(replace(DEFAULT, epochs=8000), replace(DEFAULT, epochs=4000)),
        Contrast(replace(DEFAULT, epochs=4000, loss="mse"), replace(DEFAULT, loss="mse")),
    ),
    figures=(
        Figure("lines", x="epochs", score="learned"),
        Figure("lines", x="epochs", score="settled"),
        Figure("losses"),
    ),
    order=40,
)

if __name__ == "__main__":
    experiment.main()
