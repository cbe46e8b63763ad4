"""BCE against MSE: is it the loss, or the size of its steps?"""

from dataclasses import replace

from qwerties import DEFAULT, Contrast, Experiment, Figure, grid

LOSSES = ("bce", "mse")
ACTIVATIONS = ("relu", "linear")
RATE = DEFAULT.learning_rate
CONFIDENT = 10.0  # output weights ten times as large: confidently wrong at the start, on many seeds

same_rate = grid(activation=ACTIVATIONS, loss=LOSSES)
twice_the_rate = grid(replace(DEFAULT, loss="mse", learning_rate=2 * RATE), activation=ACTIVATIONS)
confident = grid(replace(DEFAULT, output_scale=CONFIDENT), activation=ACTIVATIONS, loss=LOSSES)

experiment = Experiment(
    title="BCE or MSE",
    question=(
        'Why BCELoss and not MSELoss; what makes this "a BCE problem"? The gradient at the logit is *p − y* under '
        "BCE and *2(p − y)p(1 − p)* under MSE, at most half as large: so MSE is also tried at twice the rate. "
        f"With output weights {CONFIDENT:g} times as large, networks start out confident, and often wrong."
    ),
    configs=(*same_rate, *twice_the_rate, *confident),
    contrasts=(
        Contrast(DEFAULT, replace(DEFAULT, loss="mse"), primary=True),
        Contrast(DEFAULT, replace(DEFAULT, loss="mse", learning_rate=2 * RATE), primary=True),
        Contrast(replace(DEFAULT, activation="linear"), replace(DEFAULT, activation="linear", loss="mse")),
        Contrast(
            replace(DEFAULT, output_scale=CONFIDENT), replace(DEFAULT, output_scale=CONFIDENT, loss="mse")
        ),
    ),
    figures=(Figure("scores"), Figure("outcomes")),
    order=20,
)

if __name__ == "__main__":
    experiment.main()
