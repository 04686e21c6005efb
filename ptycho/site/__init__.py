"""Pages for a browser: the theme of every site, and the report of a study or sweep."""
