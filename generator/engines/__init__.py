"""How a model runs: one module an engine."""
