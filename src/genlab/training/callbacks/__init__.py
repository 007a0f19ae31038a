"""What happens at each step, validation and end of a training."""
