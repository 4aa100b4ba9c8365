"""Training for all tasks: settings, phases, checkpoints, moving average, NaN guard, replays."""
