"""Figures for people who compare runs in MLflow; drawn without pyplot, which keeps global state and wants a display."""

from __future__ import annotations

import numpy
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.metrics import auc, confusion_matrix, roc_curve

MAXIMUM_NAMED_CLASSES = 30


def confusion_matrix_figure(
    actual: numpy.ndarray, predicted: numpy.ndarray, classes: numpy.ndarray, names: list[str]
) -> Figure:
    """Rows of each class by the class that was predicted for them."""
    counts = confusion_matrix(actual, predicted, labels=classes)
    size = min(4.0 + 0.5 * len(names), 14.0)
    figure = Figure(figsize=(size, size * 0.85), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    image = axes.imshow(counts, cmap="Blues")
    figure.colorbar(image, ax=axes, label="rows")
    axes.set(title="Confusion matrix (held-out rows)", xlabel="predicted", ylabel="actual")
    if len(names) <= MAXIMUM_NAMED_CLASSES:
        positions = range(len(names))
        axes.set_xticks(positions, names, rotation=45, ha="right")
        axes.set_yticks(positions, names)
        middle = counts.max() / 2
        for (row, column), count in numpy.ndenumerate(counts):
            colour = "white" if count > middle else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=colour)
    return figure


def roc_curve_figure(
    actual: numpy.ndarray, probabilities: numpy.ndarray, classes: numpy.ndarray, names: list[str]
) -> Figure:
    """True against false positive rate: one curve for two classes, one for each class against the rest beyond two."""
    figure = Figure(figsize=(6.0, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    drawn = [1] if classes.size == 2 else list(range(min(classes.size, MAXIMUM_NAMED_CLASSES)))
    for index in drawn:
        positive = actual == classes[index]
        if positive.all() or not positive.any():
            continue  # no rate is defined without rows of both kinds
        false_positive, true_positive, _ = roc_curve(positive, probabilities[:, index])
        area = auc(false_positive, true_positive)
        axes.plot(false_positive, true_positive, label=f"{names[index]} (AUC {area:.3f})")
    axes.plot([0, 1], [0, 1], linestyle="--", color="grey", label="chance")
    axes.set(title="ROC curve (held-out rows)", xlabel="false positive rate", ylabel="true positive rate")
    axes.legend(loc="lower right", fontsize="small")
    return figure
