"""Data sets in memory: one datamodule per data set, with fixed splits and an order that is a function of the seed."""
