"""What a network is trained for: its loss and its samples, one file a method."""
