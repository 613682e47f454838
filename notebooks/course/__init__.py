"""What only the lessons need: chapters, checks, exercises and their marking."""
