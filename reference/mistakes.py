"""The known mistakes, as data. Diagnosis re-evaluates a wrong row with each, and names the first that reproduces it."""

from __future__ import annotations

from gradparity.reference import mistaken_formulas as of_formulas
from gradparity.reference import mistaken_inputs as of_inputs
from gradparity.reference import mistaken_losses as of_losses
from gradparity.reference import mistaken_values as of_values
from gradparity.reference.mistake import Mistake

OF_NOT_FINITE = ("overflow",)
"""The mistakes that are looked at where a row's wrong values are all infinite or NaN: those tell others apart badly."""

MISTAKES: tuple[Mistake, ...] = (
    Mistake("reduction", of_losses.reduction),
    Mistake("factor", of_formulas.factor),
    Mistake("learning rate", of_formulas.learning_rate),
    Mistake("equal to another quantity", of_values.equal),
    Mistake("activation", of_formulas.activation),
    Mistake("derivative", of_formulas.derivative),
    Mistake("transposed", of_inputs.transposed),
    Mistake("left out", of_inputs.left_out),
    Mistake("shifted", of_inputs.shifted),
    Mistake("stale", of_inputs.stale),
    Mistake("accumulated", of_inputs.accumulated),
    Mistake("clipped", of_losses.clipped),
    Mistake("logits and probabilities", of_losses.mixed),
    Mistake("overflow", of_losses.overflow),
    Mistake("zeroed", of_values.zeroed),
    Mistake("sample dropped", of_inputs.dropped),
    Mistake("last or first sample", of_inputs.edge_sample),
    Mistake("flushed", of_values.flushed),
    Mistake("columns mixed up", of_values.misplaced),
    Mistake("shuffled", of_values.shuffled),
    Mistake("narrow operands", of_inputs.narrow),
    Mistake("narrow arithmetic", of_values.narrow),
    Mistake("another input", of_inputs.replaced),
    Mistake("weight decay", of_values.decayed),
    Mistake("another learning rate", of_formulas.another_rate),
    Mistake("unknown factor", of_values.any_factor),
)
