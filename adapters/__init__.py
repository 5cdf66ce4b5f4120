"""How each framework runs a scenario. No framework is imported at module level."""
