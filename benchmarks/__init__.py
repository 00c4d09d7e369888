"""What each speed claim runs: side by side in one run, printed as ratios."""
