"""The catalogue of faults, as data: realistic mistakes at their natural size. `gradparity.parity_tests.fault` runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from gradparity.parity_tests.fault import At, Fault, Mutation, Mutations
from gradparity.reference.activations import ACTIVATIONS
from gradparity.reference.formats import BFLOAT16, FLOAT16, TF32, Format
from gradparity.reference.problem import Array, Problem

Inject = Callable[[Problem], Iterator[Mutations]]
When = Callable[[Problem], bool]
CURVED = ("sigmoid", "tanh")
KINDS = ("Z1", "A1", "loss", "dA{L}", "dA{H}", "delta1", "dW1", "db1", "W1_next", "b1_next")


def always(p: Problem) -> bool:
    return True


def each(*names: str, change: Mutation, when: When = always) -> Inject:
    """Inject `change` into each of the rows, one at a time; ``{L}`` and ``{H}`` are the last and the last hidden layer."""

    def inject(p: Problem) -> Iterator[Mutations]:
        L = len(p.layers)
        for name in dict.fromkeys(n.format(L=L, H=L - 1) for n in names):
            if when(p):
                yield {name: change}

    return inject


def on_hidden(kind: str, activations: tuple[str, ...], change: Callable[[At, int], Array]) -> Inject:
    """Inject `change` into the first hidden layer with one of the activations."""

    def inject(p: Problem) -> Iterator[Mutations]:
        for l, layer in enumerate(p.layers[:-1], start=1):
            if layer.activation in activations:
                yield {f"{kind}{l}": lambda at, l=l: change(at, l)}
                return

    return inject


def scaled(factor: Callable[[At], float]) -> Mutation:
    return lambda at: at.right * at.number(factor(at))


def mean(p: Problem) -> bool:
    return p.loss.samples == "mean"


def several(p: Problem) -> bool:
    return len(p.batches) > 1


def uneven(p: Problem) -> bool:
    return len({stop - start for start, stop in p.batches}) > 1


def wide_enough(p: Problem) -> bool:
    return p.layers[-1].units > 1


def later(change: Mutation) -> Mutation:
    """Strike from the second step on, for what needs a step before."""
    return lambda at: change(at) if at.before else at.right


def changed(place: Callable[[Array], None]) -> Mutation:
    def change(at: At) -> Array:
        place(at.right)
        return at.right

    return change


def middle(x: Array) -> tuple[int, ...]:
    """Return the element that a fault in one element strikes: the largest, so that it is never a 0."""
    where = np.unravel_index(int(np.argmax(np.abs(np.nan_to_num(x, posinf=0, neginf=0)))), x.shape)
    return tuple(int(i) for i in where)


def one_element(f: Callable[[np.floating], float]) -> Mutation:  # type: ignore[type-arg]
    def place(x: Array) -> None:
        x[middle(x)] = f(x[middle(x)])

    return changed(place)


def by_ulps(count: int) -> Mutation:
    return one_element(lambda x: x + count * np.spacing(x))


def rounded(form: Format, x: Array) -> Array:
    return form.nearest(x.astype(np.float64)).astype(x.dtype)


def operands(form: Format) -> Mutation:
    def change(at: At) -> Array:
        names = at.row.inputs[:2]
        return at.compute(**{name: rounded(form, at.values[name]) for name in names})

    return change


def accumulated_in(form: Format) -> Mutation:
    """Add up the terms one after the other, each partial sum rounded."""

    def change(at: At) -> Array:
        P = at.inputs[0]
        Q = at.inputs[1].T if len(at.inputs) > 1 else np.ones((P.shape[1], 1), P.dtype)
        total = np.zeros((P.shape[0], Q.shape[1]))
        for k in range(P.shape[1]):
            total = form.nearest(total + form.nearest(np.outer(P[:, k], Q[k]).astype(np.float64)))
        return total.astype(P.dtype)

    return change


def in_float32(at: At) -> Array:
    return at.row.compute(*[_Single()], *(x.astype(np.float32) for x in at.inputs)).astype(np.float64)


class _Single:
    """Arithmetic that stays in float32."""

    def product(self, P: Array, Q: Array) -> Array:
        return P.astype(np.float32) @ Q.astype(np.float32)

    def sum(self, x: Array) -> Array:
        return x.sum(axis=-1, keepdims=True, dtype=np.float32)


def derivative(at: At, l: int, name: str, a: Array | None = None, slope: float = 0.01) -> Array:
    """Return ``dA ⊙ f′`` for the activation `name`, whatever the layer's own is."""
    v = at.values
    return ACTIVATIONS[name].pullback(v[f"dA{l}"], v[f"Z{l}"], v[f"A{l}"] if a is None else a, slope)


def without(column: int | slice) -> Mutation:
    """Leave samples out of a sum over samples."""
    return lambda at: at.compute(**{at.row.inputs[0]: _zero_column(at.inputs[0], column)})


def _zero_column(x: Array, column: int | slice) -> Array:
    x = x.copy()
    x[:, column] = 0
    return x


def twice(at: At) -> Array:
    delta = at.inputs[0].copy()
    delta[:, -1] *= 2
    return at.compute(**{at.row.inputs[0]: delta})


def loss_without_last(at: At) -> Array:
    A, Y = (x[:, :-1] for x in at.inputs)
    return at.row.compute(_Single(), A, Y)


def shared_buffer(at: At) -> Array:
    """Compute ``dW_l`` after its ``A_{l−1}`` was overwritten with ``Z_{l−1}`` squared away, as an in-place op does."""
    name = at.row.inputs[1]
    return at.compute(**{name: at.values["Z" + name[1:]]})


def overwritten_delta(at: At) -> Array:
    """Compute ``db_l`` after its ``δ_l`` was overwritten with ``A_l``, which shares its buffer."""
    return at.compute(**{at.row.inputs[0]: at.values["A" + at.row.name[2:]]})


def transposed_weight(p: Problem) -> Iterator[Mutations]:
    for l, W in enumerate(p.W[1:], start=2):
        if W.shape[0] == W.shape[1] > 1:
            yield {f"dA{l - 1}": lambda at, l=l: at.compute(**{f"W{l}": at.values[f"W{l}"].T})}
            return


def updated_too_early(at: At) -> Array:
    l = int(at.row.inputs[0][1:])
    eta = at.number(at.problem.learning_rate)
    return at.compute(**{f"W{l}": at.values[f"W{l}"] - eta * at.values[f"dW{l}"]})


def stale(name: str) -> Mutation:
    return later(lambda at: at.compute(**{name: at.before[name]}))


def with_rate(factor: Callable[[At], float]) -> Mutation:
    def change(at: At) -> Array:
        w, dw = at.inputs
        return w - w.dtype.type(at.problem.learning_rate * factor(at)) * dw

    return change


def decayed(at: At) -> Array:
    w, dw = at.inputs
    eta = w.dtype.type(at.problem.learning_rate)
    return w - eta * (dw + w.dtype.type(1e-2) * w)


def off_by_one_sample(at: At) -> Array:
    j = at.m // 2
    at.right[:, j] = at.right[:, j + 1]
    return at.right


def softmax(z: Array) -> Array:
    return ACTIVATIONS["softmax"].value(z, 0.0)


def twice_softmax(p: Problem) -> Iterator[Mutations]:
    if p.loss.name == "cce_logits":
        L = len(p.layers)

        def cotangent(at: At) -> Array:
            a = softmax(at.values[f"A{L}"])
            g = at.compute(**{f"A{L}": a})
            return ACTIVATIONS["softmax"].pullback(g, a, a, 0.0)

        yield {"loss": lambda at: at.compute(**{f"A{L}": softmax(at.values[f"A{L}"])}), f"dA{L}": cotangent}


def clipped(at: At) -> Array:
    A = at.inputs[0]
    low, high = A.dtype.type(1e-7), A.dtype.type(1) - A.dtype.type(1e-7)
    value = at.compute(**{at.row.inputs[0]: np.clip(A, low, high)})
    return value if at.row.name == "loss" else np.where((low > A) | (high < A), 0, value)


def naive_softmax(at: At) -> Array:
    e = np.exp(at.inputs[0])
    return e / e.sum(axis=0, keepdims=True)


def naive_logsumexp(at: At) -> Array:
    z, Y = at.inputs
    return np.asarray(np.sum(np.log(np.exp(z).sum(axis=0)) - (z * Y).sum(axis=0)) / at.m).reshape(1, 1).astype(z.dtype)


def flushed(at: At) -> Array:
    x = at.right
    return np.where(np.abs(x) < np.finfo(x.dtype).tiny, 0, x)


def compensating(at: At) -> Array:
    x = at.right
    flat = x.ravel()
    i, j = np.argsort(-np.abs(flat))[:2]
    d = flat[i] * at.number(0.01)
    flat[i] += d
    flat[j] -= d
    return flat.reshape(x.shape)


def cancelling(p: Problem) -> Iterator[Mutations]:
    if mean(p):
        L = len(p.layers)
        updates = {f"{name}{l}_next": with_rate(lambda at: 1 / at.m) for l in range(1, L + 1) for name in "Wb"}
        yield {f"dA{L}": scaled(lambda at: at.m), **updates}


def shuffled(at: At) -> Array:
    order = np.random.default_rng(1).permutation(at.right.size)
    return at.right.ravel()[order].reshape(at.right.shape)


def shuffled_columns(at: At) -> Array:
    return at.right[:, np.random.default_rng(2).permutation(at.right.shape[1])]


def kink(at: At, l: int) -> Array:
    return np.where(at.values[f"Z{l}"] == 0, at.values[f"dA{l}"], at.right)


FAULTS: tuple[Fault, ...] = (
    Fault("missing 1/m", "the output error is not divided by m", each("dA{L}", change=scaled(lambda at: at.m), when=mean), "sum over samples"),
    Fault("missing 1/m in dW", "one weight gradient is not divided by m", each("dW1", "dW{L}", change=scaled(lambda at: at.m), when=mean), "sum over samples"),
    Fault("mean for sum", "the output error is divided by m where the loss is a sum", each("dA{L}", change=scaled(lambda at: 1 / at.m), when=lambda p: not mean(p)), "mean over samples"),
    Fault("m − 1", "the output error is divided by m − 1", each("dA{L}", change=scaled(lambda at: at.m / (at.m - 1)), when=mean), "m − 1"),
    Fault("m − 1 in the loss", "the loss is divided by m − 1", each("loss", change=scaled(lambda at: at.m / (at.m - 1)), when=mean), "m − 1"),
    Fault("bias gradient averaged", "db is the mean over samples of what was averaged already", each("db1", "db{L}", change=scaled(lambda at: 1 / at.m), when=mean), "averaged over the samples twice"),
    Fault("outputs averaged", "the output error is divided by the number of outputs", each("dA{L}", change=scaled(lambda at: 1 / at.problem.layers[-1].units), when=lambda p: p.loss.outputs == "sum" and wide_enough(p)), "mean over outputs"),
    Fault("outputs summed", "the output error is not divided by the number of outputs", each("dA{L}", change=scaled(lambda at: at.problem.layers[-1].units), when=lambda p: p.loss.outputs == "mean" and wide_enough(p)), "sum over outputs"),
    Fault("missing ½", "the squared error's gradient lacks its factor 2, or has one too many", each("dA{L}", change=scaled(lambda at: 2.0 if at.problem.loss.name.startswith("half") else 0.5), when=lambda p: "squared" in p.loss.name), "squared_error"),
    Fault("dropped sample", "the sum over samples ends one too early", each("dW1", "dW{L}", "db1", change=without(-1)), "leaves out sample"),
    Fault("sample counted twice", "the sum over samples takes the last one twice", each("dW1", "db{L}", change=twice), "counts twice sample"),
    Fault("loss without the last sample", "the loss is the mean of all samples but the last", each("loss", change=loss_without_last, when=mean), "leaves out the last sample"),
    Fault("masked sample", "one column of delta is 0", each("delta1", change=lambda at: _zero_column(at.right, -1)), "is 0 in column"),
    Fault("last mini-batch mis-weighted", "a smaller batch is divided by the size of a full one", each("dA{L}", change=scaled(lambda at: at.m / 8), when=uneven), "the size of another batch"),
    Fault("missing derivative", "delta = dA", on_hidden("delta", ("relu", "tanh", "sigmoid", "leaky_relu"), lambda at, l: at.values[f"dA{l}"]), "derivative of the activation is missing"),
    Fault("doubled derivative", "f′ is applied twice", on_hidden("delta", (*CURVED, "leaky_relu"), lambda at, l: at.compute(**{f"dA{l}": at.right})), "derivative of the activation twice"),
    Fault("leaky derivative", "the derivative of leaky ReLU in the place of ReLU's", on_hidden("delta", ("relu",), lambda at, l: derivative(at, l, "leaky_relu")), "derivative of leaky_relu"),
    Fault("derivative of another activation", "tanh′ for sigmoid′ and the other way round", on_hidden("delta", CURVED, lambda at, l: derivative(at, l, "tanh" if at.problem.layers[l - 1].activation == "sigmoid" else "sigmoid")), "uses the derivative of"),
    Fault("derivative at A", "f′ is taken at A as if that were Z", on_hidden("delta", CURVED, lambda at, l: derivative(at, l, at.problem.layers[l - 1].activation, ACTIVATIONS[at.problem.layers[l - 1].activation].value(at.values[f"A{l}"], 0.0))), "as if that were Z"),
    Fault("1 − A for 1 − A²", "tanh′ without the square", on_hidden("delta", ("tanh",), lambda at, l: at.values[f"dA{l}"] * (1 - at.values[f"A{l}"])), ""),
    Fault("ReLU′(0) = 1", "the derivative at an exact 0 is 1", each("delta1", change=lambda at: kink(at, 1)), "at the kink", on="kink"),
    Fault("activation left out", "A = Z", on_hidden("A", ("relu", "tanh", "sigmoid", "leaky_relu"), lambda at, l: at.values[f"Z{l}"].copy()), "activation is missing"),
    Fault("another activation", "ReLU for tanh, sigmoid for ReLU", on_hidden("A", ("relu", "tanh"), lambda at, l: ACTIVATIONS["sigmoid"].value(at.values[f"Z{l}"], 0.0)), "applies sigmoid"),
    Fault("transposed square weight", "W for Wᵀ in dA", transposed_weight, "transposed"),
    Fault("transposed gradient", "a square dW is transposed", lambda p: ({f"dW{l}": lambda at: at.right.T.copy()} for l, W in list(enumerate(p.W, 1))[1:2] if W.shape[0] == W.shape[1] > 1), "is transposed"),
    Fault("shuffled columns", "the columns of dW in another order", each("dW1", change=shuffled_columns), "columns in another order"),
    Fault("shuffled gradient", "the elements of dW in another order: mean and norm are right", each("dW1", change=shuffled), "right numbers in the wrong places"),
    Fault("zeroed column", "one column of dW is 0", each("dW1", change=lambda at: _zero_column(at.right, 1)), "is 0 in column 1"),
    Fault("zeroed gradient", "dW is 0: a detached graph", each("dW1", "db1", change=lambda at: np.zeros_like(at.right)), "is 0 everywhere"),
    Fault("shared buffer overwritten", "dW reads A, in whose memory Z has been written", each("dW{L}", change=shared_buffer, when=lambda p: p.layers[-2].activation != "linear"), "in place of A"),
    Fault("shared buffer of delta", "db reads delta, in whose memory A has been written", each("db1", change=overwritten_delta), "is computed from A1 in place of delta1"),
    Fault("targets shifted", "each sample has the next one's target", each("dA{L}", change=lambda at: at.compute(Y=np.roll(at.values["Y"], -1, axis=1))), "Y with its columns shifted"),
    Fault("input unit ignored", "Z leaves out the last input", each("Z1", change=lambda at: at.compute(W1=_zero_column(at.values["W1"], -1))), "leaves out column of W1"),
    Fault("bias left out", "Z without b", each("Z1", "Z{L}", change=lambda at: at.compute(**{at.row.inputs[2]: 0 * at.inputs[2]})), "leaves out b"),
    Fault("off by one in a sample", "one sample of A has the values of the next", each("A1", change=off_by_one_sample), "what belongs in sample"),
    Fault("weights not updated", "W_next = W", each("W1_next", change=lambda at: at.inputs[0].copy()), "was not updated"),
    Fault("bias not updated", "b_next = b", each("b1_next", change=lambda at: at.inputs[0].copy()), "was not updated"),
    Fault("double update", "the optimizer is called twice", each("W1_next", "b1_next", change=with_rate(lambda at: 2.0)), "was updated twice"),
    Fault("gradient ascent", "the update has the wrong sign", each("W1_next", change=with_rate(lambda at: -1.0)), "up the gradient"),
    Fault("learning rate off by 1e-4", "the learning rate is 1.0001 times what it should be", each("W1_next", "W{L}_next", "b1_next", change=with_rate(lambda at: 1.0001)), "learning rate of"),
    Fault("update averaged again", "the update is divided by m once more", each("W1_next", change=with_rate(lambda at: 1 / at.m), when=mean), "divided by m"),
    Fault("weight decay", "a decay of 0.01 that nobody asked for", each("W1_next", change=decayed), "weight decay"),
    Fault("stale weights", "the forward pass uses the weights of the step before", each("Z{L}", change=lambda at: stale(f"W{len(at.problem.layers)}")(at), when=several), "of the step before"),
    Fault("stale weights backward", "dA uses the weights of the step before", each("dA{H}", change=lambda at: stale(f"W{len(at.problem.layers)}")(at), when=several), "of the step before"),
    Fault("updated too early", "dA uses the weights after the update", each("dA{H}", change=updated_too_early), "was updated before it was used"),
    Fault("stale gradient", "the update uses the gradient of the step before", each("W1_next", change=stale("dW1"), when=several), "of the step before"),
    Fault("gradients accumulate", "dW is not set to 0 between steps", each("dW1", change=later(lambda at: at.right + at.before["dW1"]), when=several), "not set to 0"),
    Fault("logits and probabilities mixed", "softmax is applied to probabilities", twice_softmax, "mixes up logits and probabilities"),
    Fault("probabilities clipped", "to [1e-7, 1 − 1e-7]", each("loss", "dA{L}", change=clipped), "clips the probabilities to [1e-07", on="probabilities"),
    Fault("unstable softmax", "exp(z)/Σ exp(z), the largest not subtracted", each("A2", change=naive_softmax), "overflows", on="saturated"),
    Fault("unstable log-sum-exp", "log Σ exp(z), the largest not subtracted", each("loss", change=naive_logsumexp), "overflows", on="overflow"),
    Fault("TF32", "the operands of one product in TF32", each("Z1", "dA{H}", "dW1", change=operands(TF32)), "to TF32"),
    Fault("bfloat16 operands", "the operands of one product in bfloat16", each("Z1", "dA{H}", "dW1", change=operands(BFLOAT16)), "to bfloat16"),
    Fault("float16 operands", "the operands of one product in float16", each("Z1", "dA{H}", "dW1", change=operands(FLOAT16)), "to float16"),
    Fault("bfloat16 sums", "one accumulation in bfloat16", each("dW{L}", "db1", change=accumulated_in(BFLOAT16)), "computed in bfloat16"),
    Fault("float16 sums", "one accumulation in float16", each("dW{L}", "db1", change=accumulated_in(FLOAT16)), "computed in float16"),
    Fault("float32 for float64", "one row in float32", each("Z1", "A1", "dA1", "dW1", "W1_next", change=in_float32, when=lambda p: p.dtype == "float64"), "float32"),
    Fault("flush to zero", "subnormal numbers are set to 0", each("A1", "dW1", change=flushed), "", "TensorFlow, XLA and JAX do so, and every bound has room for it", on="subnormal"),
    Fault("underflow in float16", "what is below the smallest normal float16 is lost", each("delta1", "dW1", change=lambda at: np.where(np.abs(at.right) < np.finfo(np.float16).tiny, 0, at.right)), "the smallest normal float16|is 0 everywhere"),
    Fault("gradient scaled by 1 + 1e-3", "the whole gradient is a little too large", each("dW1", "dW{L}", change=scaled(lambda at: 1.001)), "times what its formula gives"),
    Fault("one element wrong by 1 %", "the largest element of a row", each(*KINDS, change=one_element(lambda x: x * 1.01)), "wrong in element|times what its formula gives"),
    Fault("one element wrong by 100 ULP", "the largest element of a row", each(*KINDS, change=by_ulps(100)), "wrong in element|off by"),
    Fault("one NaN", "the largest element of a row", each(*KINDS, change=one_element(lambda x: np.nan)), "nan"),
    Fault("one infinity", "the largest element of a row", each("Z1", "dW1", change=one_element(lambda x: np.inf)), "inf"),
    Fault("−0 for 0", "every 0 has the wrong sign", each("A1", "delta1", "dW1", change=lambda at: np.where(at.right == 0, -at.right, at.right)), "", "−0 equals 0, in NumPy and in IEEE 754"),
    Fault("sign of one element", "the largest element of a row", each(*KINDS, change=one_element(lambda x: -x)), "-1 times what its formula gives|opposite sign"),
    Fault("sign of a gradient", "the whole gradient has the wrong sign", each("dA{L}", "dW1", "db1", change=scaled(lambda at: -1.0)), "opposite sign"),
    Fault("errors that compensate", "one element too large, another too small: the sum is right", each("delta1", "dW1", change=compensating), "wrong in elements"),
    Fault("two errors that cancel", "the mean is missing, and the learning rate is divided by m: W_next is right", cancelling, "sum over samples"),
)  # fmt: skip
