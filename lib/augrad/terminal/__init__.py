"""Standard output and standard error: what is printed is text, and printing never fails."""
