"""One reader a file format; each yields an image set."""
