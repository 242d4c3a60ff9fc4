"""What commands write: pictures, pages, tables, files that get their name when they are complete; locks."""
