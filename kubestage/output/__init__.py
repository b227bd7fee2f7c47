"""What a person gets of a run: a few lines (lines, screen), all of pyinfra's words (log), a picture (picture)."""
