"""Results as a table, and what is made of it: terminal, Markdown, files, the command line."""
