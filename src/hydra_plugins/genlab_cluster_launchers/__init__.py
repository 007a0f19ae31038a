"""Launchers that hand each job of a sweep to a scheduler: SLURM by submitit, joblib, Ray."""
