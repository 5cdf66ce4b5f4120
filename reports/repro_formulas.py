"""The table of formulas as NumPy source text, for scripts that stand alone. Samples are rows.

`gradparity.parity_tests.test_repro` compares every text with the row of `gradparity.reference.formulas` that it
spells out.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Literal, TypeAlias

from gradparity.reference.losses import LOSSES
from gradparity.reference.problem import Layer, Problem

Rows: TypeAlias = Mapping[str, tuple[str, ...]]
"""For each quantity, in the order of computation, the expressions that a correct engine may compute it by."""

ACTIVATION_TEXTS = {
    "linear": ("{Z}", "{dA}"),
    "relu": ("np.maximum({Z}, 0)", "{dA} * ({Z} > 0)"),
    "leaky_relu": ("np.where({Z} > 0, {Z}, {slope} * {Z})", "np.where({Z} > 0, {dA}, {slope} * {dA})"),
    "sigmoid": ("sigmoid({Z})", "{dA} * ({A} * (1 - {A}))"),
    "tanh": ("np.tanh({Z})", "{dA} * (1 - {A} ** 2)"),
    "softmax": ("softmax({Z})", "{A} * ({dA} - ({A} * {dA}).sum(1, keepdims=True))"),
}
"""``A = f(Z)``, and ``δ`` from ``dA``."""

LOSS_TEXTS = {
    "bce": ("-xlogy(Y, {A}) - xlog1py(1 - Y, -{A})", "(1 - Y) / (1 - {A}) - Y / {A}"),
    "bce_logits": (
        "np.maximum({A}, 0) - {A} * Y + np.log1p(np.exp(-abs({A})))",
        "(1 - Y) * sigmoid({A}) - Y * sigmoid(-{A})",
    ),
    "cce": ("-xlogy(Y, {A})", "-Y / {A}"),
    "cce_logits": ("-Y * log_softmax({A})", "np.exp(log_softmax({A})) * Y.sum(1, keepdims=True) - Y"),
    "squared_error": ("({A} - Y) ** 2", "2 * ({A} - Y)"),
    "half_squared_error": ("({A} - Y) ** 2 / 2", "{A} - Y"),
}
"""The terms of the loss, and their derivatives with respect to the output."""

HELPERS = {
    "sigmoid": """\
def sigmoid(z):
    e = np.exp(-abs(z))
    return np.where(z >= 0, 1, e) / (1 + e)""",
    "softmax": """\
def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)""",
    "log_softmax": """\
def log_softmax(z):
    z = z - z.max(1, keepdims=True)
    return z - np.log(np.exp(z).sum(1, keepdims=True))""",
    "xlogy": """\
def xlogy(x, y):
    return np.where(x == 0, 0, x * np.log(y))""",
    "xlog1py": """\
def xlog1py(x, y):
    return np.where(x == 0, 0, x * np.log1p(y))""",
}

_QUANTITY = re.compile(r"\b(?:[XY]|(?:dA|dW|db|delta|[ZAWb])\d+)\b")


def rows(problem: Problem, kernel: Literal["in,out", "out,in"]) -> Rows:
    """Return the rows of `problem`; a kernel is ``(n_in, n_out)`` or ``(n_out, n_in)``, a bias ``(n_out,)``."""
    forward, back = ("", ".T") if kernel == "in,out" else (".T", "")
    L = len(problem.layers)
    found: dict[str, tuple[str, ...]] = {}
    for l, layer in enumerate(problem.layers, start=1):
        found[f"Z{l}"] = (f"{_sample(l - 1)} @ W{l}{forward} + b{l}",)
        found[f"A{l}"] = (_value(layer, l),)
    terms, gradient = (text.format(A=f"A{L}") for text in LOSS_TEXTS[problem.loss.name])
    found["loss"] = (_divided(f"({terms}).sum()", problem),)
    found[f"dA{L}"] = (_divided(f"({gradient})", problem),)
    for l in range(L, 0, -1):
        if l < L:
            found[f"dA{l}"] = (f"delta{l + 1} @ W{l + 1}{back}",)
        found[f"delta{l}"] = tuple(_deltas(problem, l))
        A = _sample(l - 1)
        found[f"dW{l}"] = (f"{A}.T @ delta{l}" if kernel == "in,out" else f"delta{l}.T @ {A}",)
        found[f"db{l}"] = (f"delta{l}.sum(0)",)
    for name in (f"{name}{l}" for l in range(1, L + 1) for name in "Wb"):
        found[f"{name}_next"] = (f"{name} - {problem.learning_rate!r} * d{name}",)
    return found


def _sample(l: int) -> str:
    return f"A{l}" if l else "X"


def _value(layer: Layer, l: int) -> str:
    return ACTIVATION_TEXTS[layer.activation][0].format(Z=f"Z{l}", slope=repr(layer.slope))


def _divided(text: str, problem: Problem) -> str:
    loss, outputs = problem.loss, problem.layers[-1].units
    parts = ["len(Y)"] * (loss.samples == "mean") + [str(outputs)] * (loss.outputs == "mean")
    return text + (f" / {parts[0]}" if len(parts) == 1 else f" / ({' * '.join(parts)})" if parts else "")


def _deltas(problem: Problem, l: int) -> Iterator[str]:
    """Yield the formulas for ``δ_l``: the matched one first, each from the activation and from what it is of Z."""
    layer, J = problem.layers[l - 1], LOSSES[problem.loss.name]
    general = ACTIVATION_TEXTS[layer.activation][1]
    texts = [general]
    if l == len(problem.layers) and J.matched == layer.activation:
        weight = " * Y.sum(1, keepdims=True)" if J.classes else ""
        texts = [_divided(f"({{A}}{weight} - Y)", problem), general]
    for A in (f"A{l}", _value(layer, l)):
        for text in texts:
            if A.startswith("A") or "{A}" in text:
                yield text.format(A=A, Z=f"Z{l}", dA=f"dA{l}", slope=repr(layer.slope))


def quantities(texts: Iterable[str]) -> list[str]:
    """Return the names of the quantities that occur in `texts`, each once."""
    return list(dict.fromkeys(name for text in texts for name in _QUANTITY.findall(text)))


def helpers(texts: Iterable[str]) -> list[str]:
    """Return the source of the functions that `texts` call."""
    whole = " ".join(texts)
    return [source for name, source in HELPERS.items() if re.search(rf"\b{name}\(", whole)]


def leading_to(name: str, table: Rows, given: Container[str]) -> tuple[list[str], tuple[str, ...]]:
    """Return the quantities to compute before `name`, in order, and its expressions, when `given` are known."""
    known = tuple(text for text in table[name] if all(i in given for i in quantities([text])))
    if known:
        return [], known
    before: list[str] = []
    for i in quantities(table[name][:1]):
        if i not in given and i not in before:
            before += [n for n in (*leading_to(i, table, given)[0], i) if n not in before]
    return before, table[name][:1]
