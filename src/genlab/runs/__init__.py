"""A run on the disk: its folder, identity, checkpoints and lock."""
