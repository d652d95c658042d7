"""The networks of the textbook in NumPy, forward and with a manual backward pass, to be read next to the book.

| file              | content                                                                              |
|-------------------|--------------------------------------------------------------------------------------|
| network.py        | the vanilla network in the textbook's letters U, V, W, b, c, and its backward pass   |
| truncation.py     | the gradient of W as a sum over paths of time, and the two ways to truncate it       |
| losses.py         | softmax and sigmoid cross-entropy, summed over time, and their gradient ŷ − y        |
| graph.py          | the same gradients from a computational graph, without a derivation                  |
| vanilla.py gru.py lstm.py | one time step of each cell and its derivatives, in torch's layout of weights |
| sequence.py       | the loop through time of any of these cells: padding, reversal, initial states       |
| squashing.py      | σ and softmax without overflow                                                       |
| differences.py    | central differences, which test every derivation                                     |
| language_model.py | stochastic gradient descent: `python -m seq2seq.reference.language_model --text FILE` |
| README.md         | a map: the letters of books and courses → names, files and tests (README.zh.md: Chinese) |
| ERRATA.md         | errors in widely copied derivations, the right line, and the test that shows it      |

All numbers are float64, and there is no torch here. Only tests and experiments import this package.
"""
