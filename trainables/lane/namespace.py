"""Where a sweep's actor and those who look for it by name meet in Ray. Free of Ray and torch, as those who ask may be."""

NAMESPACE = "jit-sweep"
