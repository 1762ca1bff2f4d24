"""Training corpora: aligned talking-face clips with sound features and labels, made from renders or from footage."""
