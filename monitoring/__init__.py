"""Watching the market and the model: completeness, drift, calibration, incidents and their mail."""
