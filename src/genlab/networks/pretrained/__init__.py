"""What others have trained and published, read from a folder without running a line of theirs."""
