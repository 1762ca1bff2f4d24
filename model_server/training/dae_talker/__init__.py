"""Trains DAE-Talker on one actor's footage, stage by stage."""
