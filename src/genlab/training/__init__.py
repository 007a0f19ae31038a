"""The trainer and its callbacks, and many processes as one."""
