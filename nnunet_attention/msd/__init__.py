"""Fetches and converts the Medical Segmentation Decathlon, and knows what was published on it."""
