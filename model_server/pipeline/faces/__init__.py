"""Faces: found, followed, aligned and told apart; head poses and colours of faces."""
