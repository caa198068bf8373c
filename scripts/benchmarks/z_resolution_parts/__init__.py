"""Parts of the comparison of tunings to Z decays."""
