"""What the checkout runs and the library does without: recipes, the rehearsal, the miniature frontier."""
