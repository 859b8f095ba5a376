"""Where images come from before they are prepared: one file a format. `registry` lists them."""
