"""Sharing slot by slot: who gets which resource block of a slot, and what becomes of the blocks that are sent."""
