"""The networks, and what they cost in parameters, FLOPs and memory."""
