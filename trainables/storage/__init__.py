"""Files on a disk or in a bucket, and checkpoints in them."""
