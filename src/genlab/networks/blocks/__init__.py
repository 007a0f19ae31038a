"""Parts that networks of several kinds share."""
