"""The cases, one module per level."""

MODULES = (
    "l0_shift",
    "l0_identities",
    "permanent",
    "l1_convolution",
    "l1_layers",
    "l1_pooling",
    "l2_blocks",
    "l3_networks",
    "l4_architectures",
    "l5_frames",
    "l6_film",
    "streaming",
    "refusals",
)
