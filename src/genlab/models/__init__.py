"""Families of generative models, one file each."""
