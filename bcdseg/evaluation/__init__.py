"""How good a model is: measures, intervals, calibration, reports."""
