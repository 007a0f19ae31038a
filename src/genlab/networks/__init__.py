"""Plain modules that families are made of; none knows of data sets or training."""
