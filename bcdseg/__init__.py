"""Breast-ultrasound scans: segmented and classified together."""
