"""Formats of X-ray scans: positions and, often, a probe and an object; each module states its axes, signs and units."""
