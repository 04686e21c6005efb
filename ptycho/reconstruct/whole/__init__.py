"""Methods that work on the object of the whole scan, and that photons held out judge."""
