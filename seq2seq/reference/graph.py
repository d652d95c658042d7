"""A small computational graph: the same gradients from the derivatives of single operations.

A node has a value and, for each of its parents, a function from the gradient of the node to that of the parent.
`gradients` visits the nodes in reverse order of creation and sums up the gradients: reverse-mode differentiation.

    y = A + B       ∂A = ∂y               ∂B = ∂y
    y = A ⊙ B       ∂A = ∂y ⊙ B           ∂B = ∂y ⊙ A
    y = A x         ∂A = ∂y xᵀ            ∂x = Aᵀ ∂y
    y = tanh a      ∂a = ∂y ⊙ (1 − y²)
    y = σ(a)        ∂a = ∂y ⊙ y(1 − y)
    y = softmax a   ∂a = y ⊙ (∂y − yᵀ∂y)
    y = log a       ∂a = ∂y / a
    y = Σ_i a_i     ∂a_i = ∂y

Goodfellow, Bengio & Courville, Deep Learning (2016), section 6.5 (algorithms 6.5 and 6.6). Softmax and log are not
fused on purpose: that their combined gradient is ŷ − y is a result. For large logits use losses.py, which cannot
overflow.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float64, Int

from seq2seq.reference import squashing
from seq2seq.reference.losses import one_hot
from seq2seq.reference.network import Network

Array = Float64[np.ndarray, "..."]
Back = Callable[[Array], Array]
_clock = itertools.count()


class Node:
    """A value in the graph; a node without parents is a leaf: a weight, an input or a constant."""

    def __init__(self, value: Array | np.float64, *parents: tuple[Node, Back]) -> None:
        self.value: Array = np.asarray(value)
        self.parents = parents
        self.made = next(_clock)

    def __add__(self, other: Node) -> Node:
        return Node(self.value + other.value, (self, lambda d: d), (other, lambda d: d))

    def __mul__(self, other: Node) -> Node:
        """The elementwise product of two nodes."""
        return Node(self.value * other.value, (self, lambda d: d * other.value), (other, lambda d: d * self.value))

    def __matmul__(self, x: Node) -> Node:
        """The product of a matrix and a vector."""
        return Node(self.value @ x.value, (self, lambda d: np.outer(d, x.value)), (x, lambda d: self.value.T @ d))


def tanh(a: Node) -> Node:
    """The hyperbolic tangent, elementwise."""
    y = np.tanh(a.value)
    return Node(y, (a, lambda d: d * (1 - y**2)))


def sigmoid(a: Node) -> Node:
    """The logistic sigmoid σ, elementwise."""
    y = squashing.sigmoid(a.value)
    return Node(y, (a, lambda d: d * y * (1 - y)))


def softmax(a: Node) -> Node:
    """Softmax of a vector."""
    y = squashing.softmax(a.value)
    return Node(y, (a, lambda d: y * (d - y @ d)))


def log(a: Node) -> Node:
    """The natural logarithm, elementwise."""
    return Node(np.log(a.value), (a, lambda d: d / a.value))


def total(a: Node) -> Node:
    """The sum of all elements, a scalar."""
    return Node(a.value.sum(), (a, lambda d: d * np.ones_like(a.value)))


def gradients(loss: Node, wanted: Sequence[Node]) -> list[Array]:
    """∂loss/∂node for each wanted node; 0 for a node that the loss does not depend on."""
    arrived = {loss: np.ones_like(loss.value)}
    for node in _ancestors(loss):
        for parent, back in node.parents:
            # A node that is used several times (W, at every step) gets a gradient from each use: they are summed.
            arrived[parent] = arrived.get(parent, np.zeros_like(parent.value)) + back(arrived[node])
    return [arrived.get(node, np.zeros_like(node.value)) for node in wanted]


def _ancestors(loss: Node) -> list[Node]:
    """`loss` and all nodes that it depends on, in reverse order of creation, so that a node comes after all its
    uses."""
    seen, waiting = {loss}, [loss]
    while waiting:
        new = {parent for parent, _ in waiting.pop().parents} - seen
        seen |= new
        waiting += new
    return sorted(seen, key=lambda node: -node.made)


def cross_entropy(probabilities: Node, y: Array) -> Node:
    """−Σ y log ŷ for a distribution y."""
    return total(log(probabilities) * Node(-y))


def vanilla_network(leaves: Sequence[Node], s: Node, xs: Sequence[Node], targets: Int[np.ndarray, "T"]) -> Node:
    """The loss of network.py's equations over a sequence: leaves U, W, V, b, c, initial state s, inputs x_1 … x_T."""
    U, W, V, b, c = leaves
    loss = Node(np.zeros(()))
    for x, y in zip(xs, one_hot(targets, len(c.value))):
        s = tanh(b + W @ s + U @ x)
        loss = loss + cross_entropy(softmax(c + V @ s), y)
    return loss


def leaves_of(network: Network) -> list[Node]:
    """The parameters of a network as leaves."""
    return [Node(weight) for weight in network]
