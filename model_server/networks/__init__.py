"""The PC-AVS networks (Zhou et al., CVPR 2021): encoders of identity, of motion and of speech, and the generator."""
