"""Every word that is sent to a model, as versioned Jinja2 files, and the library that loads them."""
