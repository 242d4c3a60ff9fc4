"""What commands write: pictures, pages, tables, and files that get their name only when they are complete."""
