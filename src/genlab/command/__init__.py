"""The commands, and the one door to Hydra."""
