"""How much of the spread is the data, how much the start."""

from qwerties import DEFAULT, Experiment, Figure

experiment = Experiment(
    title="The data or the start",
    question=(
        "Two runs of the notebook differ in their data and in their initial weights. Which of the two decides the "
        "outcome? Every one of 30 data seeds is trained from every one of 30 initial weights."
    ),
    configs=(DEFAULT,),
    figures=(Figure("variance"),),
    crossed=(30, 30),
    order=80,
)

if __name__ == "__main__":
    experiment.main()
