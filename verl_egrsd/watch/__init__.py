"""A run that ends with a reason and leaves nothing behind."""
