"""Measures what fine-tuning brings on the Decathlon's Hippocampus task, with short trainings."""
