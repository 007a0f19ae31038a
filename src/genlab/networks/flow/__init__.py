"""Invertible networks and what fills the cells of discrete data."""
