"""DAE-Talker (Du et al. 2023): a diffusion autoencoder of one actor's frames, and speech that steers its latents.

The autoencoder is that of Diff-AE (Preechakul et al. 2022). No code of the paper was published; where it is silent,
docstrings say "our choice" and where the idea comes from.
"""
