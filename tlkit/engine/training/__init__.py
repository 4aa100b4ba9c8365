"""Training for all tasks: settings, fit, progress, checkpoints, moving average, NaN guard, replays."""
