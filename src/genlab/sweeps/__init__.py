"""Sweeps: jobs as processes of their own, where they run, what they report, and what failed."""
