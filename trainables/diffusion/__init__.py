"""The diffusion maths: noise, targets, losses and samplers."""
