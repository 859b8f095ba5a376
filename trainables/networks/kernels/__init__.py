"""Our Triton kernels for what lies between a block's matrix products, one file each.

Loaded where `trainables.networks.kernel_choice` has found that they run: a CPU's torch comes without Triton.
"""
