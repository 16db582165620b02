"""What acts while a Trainer trains: pruning, and what a run writes down."""
