"""Mixtures of distributions and their fit."""
