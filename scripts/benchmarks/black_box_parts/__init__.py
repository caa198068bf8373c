"""Parts of black_box.py and dimension.py."""
