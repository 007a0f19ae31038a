"""What one example is, and what is computed of it everywhere: no room below this one."""
