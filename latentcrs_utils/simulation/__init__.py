"""Simulated users: what they may say, how they say it, and how they answer."""
