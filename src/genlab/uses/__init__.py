"""What a trained model is for: one file for each use, which takes a model and examples and knows no command."""
