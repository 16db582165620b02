"""What is measured of runs: intervals and paired differences, speed of learning and convergence."""
