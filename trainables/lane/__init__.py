"""What runs in a Ray Train worker of a lane: the only part of this package that imports Ray."""
