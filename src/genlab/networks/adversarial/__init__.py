"""Generators and discriminators, and what they play for."""
