"""The truth: scenarios, the table of formulas, its bounds and the judge. NumPy and the standard library only."""
