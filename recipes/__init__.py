"""Recipes, the rehearsal and the miniature frontier: part of the checkout, not of the installed library."""
