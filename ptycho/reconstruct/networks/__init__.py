"""The architectures: each maps a group's amplitudes and positions to estimates of the object on the group's canvas."""
