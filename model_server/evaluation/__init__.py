"""Measures dubs the way the paper does: figures on generated frames beside those of true frames and of baselines."""
