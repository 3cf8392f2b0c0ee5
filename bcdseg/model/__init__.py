"""Models as users hold them: network, preprocessing and calibration, loaded, saved and asked."""
