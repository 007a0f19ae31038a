"""The protocol: likelihoods, the quality of samples, the registry of figures."""
