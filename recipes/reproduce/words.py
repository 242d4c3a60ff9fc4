#!/usr/bin/env python3
"""Stands in for the interpreter of a recipe: prints the command that the recipe would run, as JSON."""

import json
import sys

if sys.argv[1] == "-m":
    print(json.dumps(sys.argv[2:]))
