"""Formats of electron scans (4D-STEM): a raster of patterns, its step, settings of the microscope."""
