"""Pages that are made from the code, the configs and the results, for the site that `conf.py` configures."""
