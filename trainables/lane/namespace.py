"""The Ray namespace of every sweep's actor. Free of Ray and torch, since modules without them read it."""

NAMESPACE = "jit-sweep"
