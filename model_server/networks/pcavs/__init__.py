"""The PC-AVS networks (Zhou et al., CVPR 2021), plain for training and optimized for inference."""
