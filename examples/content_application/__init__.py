"""A small content application: what the other side of a `link` assignment looks like. See README.md."""
