"""PC-AVS (Zhou et al., CVPR 2021): a portrait, mel windows and implicit pose codes become frames."""
