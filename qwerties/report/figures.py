"""The figures of the page: constructors that turn results into `ReportFigure`, and `render`, which draws them."""

from qwerties.report.contrast_figures import contrasts_figure, evidence_figure
from qwerties.report.curve_figures import gradient_ratios
from qwerties.report.experiment_figures import experiment_figure, score_interval
from qwerties.report.map_figures import map_gain_figure, map_shares_figure
from qwerties.report.question_figures import gradients_figure, losses_figure, training_figure
from qwerties.report.rendering import RenderedFigure, ReportFigure, render
from qwerties.report.search_figures import search_fronts, search_histories, search_importances, search_rates

__all__ = [
    "RenderedFigure",
    "ReportFigure",
    "contrasts_figure",
    "evidence_figure",
    "experiment_figure",
    "gradient_ratios",
    "gradients_figure",
    "losses_figure",
    "map_gain_figure",
    "map_shares_figure",
    "render",
    "score_interval",
    "search_fronts",
    "search_histories",
    "search_importances",
    "search_rates",
    "training_figure",
]
