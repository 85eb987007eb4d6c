"""The ablation's web page."""
