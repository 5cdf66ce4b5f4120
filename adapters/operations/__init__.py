"""Probes: one function of a framework on given arrays, its value and its gradient; or some steps of an optimizer."""
