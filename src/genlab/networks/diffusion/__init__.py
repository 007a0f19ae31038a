"""Denoising networks, noise levels, paths, samplers and solvers."""
