"""Bands as a fluid flow: bits flow at rates that are exact between changes, without an event a slot or fading block."""
