"""The launcher that runs each job of a sweep as a process of its own: ``hydra/launcher=process``."""
