"""One hidden layer more: 16 units, then one."""

from dataclasses import replace

from qwerties import DEFAULT, Contrast, Experiment, Figure, grid

EPOCHS = (1000, 2000, 5000)
BASE = replace(DEFAULT, hidden=(16, 1))

experiment = Experiment(
    title="One layer more",
    question=(
        "Does another hidden layer help? Sixteen units feed the notebook's single one, through which every signal "
        "still has to pass: where that unit is dead, so is the network. ReLU and no activation are compared after "
        "1000, 2000 and 5000 epochs."
    ),
    configs=grid(BASE, activation=("relu", "linear"), epochs=EPOCHS),
    contrasts=(
        *(
            Contrast(replace(BASE, epochs=epochs), replace(BASE, epochs=epochs, activation="linear"))
            for epochs in EPOCHS
        ),
        Contrast(replace(BASE, epochs=5000), replace(BASE, epochs=2000)),
    ),
    figures=(
        Figure("distribution", x="epochs"),
        Figure("outcomes"),
    ),
    share=0.4,  # a network costs as much as twenty of the notebook's
    order=65,
)

if __name__ == "__main__":
    experiment.main()
