"""Problems, methods and the page of hypervolume.py."""
