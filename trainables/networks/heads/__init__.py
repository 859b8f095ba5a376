"""The heads that read the noisy image again, one a file: z [B, C, H, W] and a condition [B, N, D] to an image."""
