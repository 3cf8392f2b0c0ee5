"""Evaluation of models: measures, bootstrap intervals, calibration and reports."""
