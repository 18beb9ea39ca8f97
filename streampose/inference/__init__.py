"""Models: from pictures to people."""
