"""What people look at: words, tables, figures, the HTML report, the progress bar."""
