"""Methods that work on the object of the whole scan. Held-out photons train them or choose their settings."""
