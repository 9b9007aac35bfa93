"""Closed-loop cursor control with a simulated user and a simulated brain (docs/closed-loop.md)."""
