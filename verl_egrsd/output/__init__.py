"""What commands write: pictures, pages, tables, and files that are whole as soon as they have their name."""
