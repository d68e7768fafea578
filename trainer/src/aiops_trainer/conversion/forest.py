"""Makes a converted forest count votes exactly, so that it breaks ties as scikit-learn does.

skl2onnx writes each leaf's class frequencies divided by the number of trees, in float32: sixty sixtieths do not add up
to one, and what they add up to depends on how the runtime spreads the trees over threads. Where half of the trees vote
for each class, which a forest does once in a hundred rows, the label is then chance. Undivided frequencies are whole
numbers in fully grown trees: their float32 sums are exact in any order, and equal sums are equal. The first of the
classes with most votes is taken, as scikit-learn does, and the division comes last, on the probabilities alone.
"""

from __future__ import annotations

from typing import Any

import numpy
import onnx
from onnx import helper, numpy_helper
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

VOTES, WINNER, CLASSES, TREES = "forest_votes", "forest_winner", "forest_classes", "forest_trees"


def is_forest(estimator: Any) -> bool:
    """Whether the estimator averages the votes of its trees."""
    return isinstance(estimator, RandomForestClassifier | ExtraTreesClassifier)


def count_votes_exactly(graph: onnx.GraphProto, forest: RandomForestClassifier | ExtraTreesClassifier) -> None:
    """Replace the leaves' weights by undivided frequencies; take label and probabilities from their sums."""
    (node,) = [node for node in graph.node if node.op_type == "TreeEnsembleClassifier"]
    attributes = {attribute.name: attribute for attribute in node.attribute}
    leaves = leaves_of(attributes)
    frequencies = numpy.asarray([forest.estimators_[tree].tree_.value[leaf, 0] for tree, leaf in leaves])
    weights = frequencies / frequencies.sum(axis=1, keepdims=True)
    class_count = weights.shape[1]
    replaced = {
        "class_treeids": [tree for tree, _ in leaves for _ in range(class_count)],
        "class_nodeids": [leaf for _, leaf in leaves for _ in range(class_count)],
        "class_ids": [index for _ in leaves for index in range(class_count)],
        "class_weights": weights.astype(numpy.float32).ravel().tolist(),
    }
    for name, values in replaced.items():
        attributes[name].CopyFrom(helper.make_attribute(name, values))

    label, probabilities = node.output
    # The node's own label compares with one half where there are two classes, whatever the weights add up to.
    node.output[:] = ["forest_label_by_half", VOTES]
    graph.initializer.extend(
        [
            numpy_helper.from_array(class_values(attributes), CLASSES),
            numpy_helper.from_array(numpy.asarray([len(forest.estimators_)], dtype=numpy.float32), TREES),
        ]
    )
    following = [
        helper.make_node("ArgMax", [VOTES], [WINNER], name="most_votes", axis=1, keepdims=0),
        helper.make_node("Gather", [CLASSES, WINNER], [label], name="class_of_most_votes"),
        helper.make_node("Div", [VOTES, TREES], [probabilities], name="mean_of_votes"),
    ]
    position = list(graph.node).index(node) + 1
    later = list(graph.node)[position:]
    del graph.node[position:]
    graph.node.extend([*following, *later])


def class_values(attributes: dict[str, onnx.AttributeProto]) -> numpy.ndarray:
    """The classes as the node declares them, text or int64."""
    if "classlabels_strings" in attributes:
        return numpy.asarray([value.decode() for value in attributes["classlabels_strings"].strings], dtype=object)
    return numpy.asarray(attributes["classlabels_int64s"].ints, dtype=numpy.int64)


def leaves_of(attributes: dict[str, onnx.AttributeProto]) -> list[tuple[int, int]]:
    """Tree and node of each leaf, in the order of the graph. skl2onnx keeps scikit-learn's numbers of both."""
    pairs = zip(attributes["class_treeids"].ints, attributes["class_nodeids"].ints, strict=True)
    return list(dict.fromkeys(pairs))
