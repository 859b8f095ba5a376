"""One reader a kind of address; each yields an image set. `registry` lists them."""
