"""An electron shower as a program of its own, in C++ and in Python, which mode_opt knows by its YAML file alone."""
