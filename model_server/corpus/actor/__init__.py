"""One actor's footage, rendered or filmed: a fixed view at exactly 25 frames a second, with sound, poses and blinks."""
