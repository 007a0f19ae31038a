"""Many results as one fair table: read, group, aggregate over seeds, rank, and write in five formats."""
