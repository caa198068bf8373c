"""What scripts/benchmarks/black_box_calorimeter.py is made of."""
