"""Pictures of a run or a bench, one file for each kind: functions that return a `Picture` or its absence."""
