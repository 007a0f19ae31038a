"""Networks that predict each value from those before it."""
