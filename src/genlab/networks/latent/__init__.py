"""Encoders, decoders and distributions of latent variables."""
