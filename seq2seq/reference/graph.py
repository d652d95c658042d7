"""A small computational graph: the same gradients with no derivation but that of each operation.

A node holds its value and, for each node that it came from, how a gradient at it becomes one there. `gradients` walks
the nodes against the order in which they were made and adds up what arrives: reverse-mode differentiation.

    y = A + B       ∂A = ∂y               ∂B = ∂y
    y = A ⊙ B       ∂A = ∂y ⊙ B           ∂B = ∂y ⊙ A
    y = A x         ∂A = ∂y xᵀ            ∂x = Aᵀ ∂y
    y = tanh a      ∂a = ∂y ⊙ (1 − y²)
    y = σ(a)        ∂a = ∂y ⊙ y(1 − y)
    y = softmax a   ∂a = y ⊙ (∂y − yᵀ∂y)
    y = log a       ∂a = ∂y / a
    y = Σ_i a_i     ∂a_i = ∂y

Goodfellow, Bengio & Courville, Deep Learning (2016), section 6.5 (algorithms 6.5 and 6.6). Nothing is fused on purpose:
that softmax and log together leave ŷ − y comes out by itself. For large logits use losses.py, which cannot overflow.
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
    """A value in the graph; one without parents is a leaf: a weight, an input or a constant."""

    def __init__(self, value: Array | np.float64, *parents: tuple[Node, Back]) -> None:
        self.value: Array = np.asarray(value)
        self.parents = parents
        self.made = next(_clock)

    def __add__(self, other: Node) -> Node:
        return Node(self.value + other.value, (self, lambda d: d), (other, lambda d: d))

    def __mul__(self, other: Node) -> Node:
        """Element by element."""
        return Node(self.value * other.value, (self, lambda d: d * other.value), (other, lambda d: d * self.value))

    def __matmul__(self, x: Node) -> Node:
        """A matrix times a vector."""
        return Node(self.value @ x.value, (self, lambda d: np.outer(d, x.value)), (x, lambda d: self.value.T @ d))


def tanh(a: Node) -> Node:
    """The hyperbolic tangent, element by element."""
    y = np.tanh(a.value)
    return Node(y, (a, lambda d: d * (1 - y**2)))


def sigmoid(a: Node) -> Node:
    """σ, element by element."""
    y = squashing.sigmoid(a.value)
    return Node(y, (a, lambda d: d * y * (1 - y)))


def softmax(a: Node) -> Node:
    """Softmax of a vector: every output depends on every input."""
    y = squashing.softmax(a.value)
    return Node(y, (a, lambda d: y * (d - y @ d)))


def log(a: Node) -> Node:
    """The natural logarithm, element by element."""
    return Node(np.log(a.value), (a, lambda d: d / a.value))


def total(a: Node) -> Node:
    """The sum of all elements."""
    return Node(a.value.sum(), (a, lambda d: d * np.ones_like(a.value)))


def gradients(loss: Node, wanted: Sequence[Node]) -> list[Array]:
    """∂loss of each wanted node; 0 for a node that the loss does not depend on."""
    arrived = {loss: np.ones_like(loss.value)}
    for node in _ancestors(loss):
        for parent, back in node.parents:
            # A node used several times (W, at every step) is sent a gradient by each use: they add up.
            arrived[parent] = arrived.get(parent, np.zeros_like(parent.value)) + back(arrived[node])
    return [arrived.get(node, np.zeros_like(node.value)) for node in wanted]


def _ancestors(loss: Node) -> list[Node]:
    """All nodes that `loss` came from and itself, the last made first: each after all that it leads to."""
    seen, waiting = {loss}, [loss]
    while waiting:
        new = {parent for parent, _ in waiting.pop().parents} - seen
        seen |= new
        waiting += new
    return sorted(seen, key=lambda node: -node.made)


def cross_entropy(probabilities: Node, y: Array) -> Node:
    """−Σ y log ŷ of a distribution y, as it is written."""
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
    """The parameters as leaves."""
    return [Node(weight) for weight in network]
